package build

import (
	"errors"

	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/tree"
)

// Sessions: steps whose programs find what those of the steps before have left behind. What
// that is, and where it is kept, is the sandbox's business.

// sessionState says whether a root file system is in a session.
type sessionState int

const (
	noSession sessionState = iota
	unused                 // no program has run in it
	inUse
)

// BeginSession begins a session.
func (r *Root) BeginSession() error {
	if r.session != noSession {
		return errors.New("the rootfs is in a session already")
	}
	r.session = unused
	return nil
}

// EndSession ends the session of a root file system. The change takes away what programs
// have left; it is needed if any has run.
func (r *Root) EndSession() (end Change, needed bool) {
	needed = r.session == inUse
	r.session = noSession
	return Edit(tree.Edit{Op: "remove", Path: sandbox.SessionDir}), needed
}

// InSession tells whether a root file system is in a session, of which images hold nothing.
func (r *Root) InSession() bool { return r.session != noSession }

// join makes programs that are to run part of the session, if there is one.
func (r *Root) join() bool {
	if r.session == unused {
		r.session = inUse
	}
	return r.InSession()
}
