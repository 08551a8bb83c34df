package build

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/lock"
	"imagebuilder/builtins/pkgproxy"
	"imagebuilder/builtins/problems"
	"imagebuilder/builtins/sandbox"
)

// Steps of a run that has a lock: what their programs get of the network, and what stands for its
// state.

// lock is what the run records its answers in, or takes them from; nil: neither.
func (b *Builder) lock() *lock.Session {
	if b == nil || b.Fetch == nil {
		return nil
	}
	return b.Fetch.Lock
}

// confine leaves programs that have a network only what the lock has, or writes down. explain is told
// how they have ended.
func (b *Builder) confine(r running, spec *sandbox.Spec) (explain func(error) error) {
	l := b.lock()
	if l == nil || !r.network || spec.NoNet {
		return func(err error) error { return err }
	}
	upstream := pkgproxy.Upstream()
	proxy := &pkgproxy.Locked{Lock: l, Log: b.Log, Body: b.Fetch.Body, Upstream: upstream}
	if b.Epoch != "" {
		proxy.Modified = b.Epoch.Clock()()
	}
	spec.Proxy = proxy.Serve
	return func(err error) error {
		upstream.CloseIdleConnections()
		err = proxy.Explain(err)
		var exit *host.ExitError
		if errors.As(err, &exit) && !proxy.Called() { // it has looked for servers itself, if for any
			err = problems.Join(err, errUncalled)
		}
		return errors.Join(l.Err(), err)
	}
}

// errUncalled is said where programs have failed, and have asked the proxy for nothing.
var errUncalled = errors.New("under a lock steps reach the network by $http_proxy alone, of which nothing was asked here")

// throughLock adds the variables that name the only way out, whatever the environment says of
// others.
func throughLock(environ []string) []string {
	list := slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasSuffix(strings.ToLower(name), "_proxy")
	})
	for _, name := range []string{"http_proxy", "https_proxy", "ftp_proxy"} {
		for _, key := range []string{name, strings.ToUpper(name)} {
			list = append(list, key+"=http://"+sandbox.ProxyAddress)
		}
	}
	return list
}

// lockedStamps are the inputs of a step that lie outside the recipe, as the lock has them. ok is
// false while it is made, as nobody knows them yet.
func (b *Builder) lockedStamps(ctx context.Context, f Freshness) (inputs []layer.Input, ok bool, err error) {
	l := b.lock()
	if l == nil || l.Record {
		return nil, false, nil
	}
	for _, url := range f.URLs {
		value, err := b.lockedStamp(ctx, l, url)
		if err != nil {
			return nil, true, err
		}
		inputs = append(inputs, layer.Input{Name: url, Value: value})
	}
	if f.Daily {
		inputs = append(inputs, layer.Input{Name: "lock", Value: l.Wire()})
	}
	return inputs, true, nil
}

// lockedStamp says what a URL serves. What could not be read when the lock was made counts as what
// changes whenever that does.
func (b *Builder) lockedStamp(ctx context.Context, l *lock.Session, url string) (string, error) {
	if strings.HasPrefix(url, "file:") {
		return b.index(ctx, url)
	}
	answer, _, err := l.Answer(url)
	if err != nil || answer.Gone {
		return l.Wire(), nil
	}
	return answer.SHA256, nil
}

// local returns a file of this machine, or what the lock has of it.
func (b *Builder) local(ctx context.Context, r fetch.Request, path string) (fetch.Fetched, error) {
	l := b.lock()
	if l == nil || !l.Outside(path) {
		return b.Fetch.Verify(ctx, r, path)
	}
	content, held, err := l.File(path)
	if err != nil {
		return fetch.Fetched{}, err
	}
	if !held {
		f, err := b.Fetch.Verify(ctx, r, path)
		if err == nil {
			err = l.KeepFile(path, lock.Content{SHA256: f.SHA256, Size: f.Size})
		}
		return f, err
	}
	if body, err := l.Bodies.Open(content); err == nil {
		body.Close()
		return b.Fetch.Verify(ctx, r, l.Bodies.Path(content))
	}
	f, err := b.Fetch.Verify(ctx, r, path)
	if err == nil && f.SHA256 != content.SHA256 {
		err = fmt.Errorf("it has the SHA-256 %s", f.SHA256)
	}
	if err != nil {
		err = fmt.Errorf("%w; %s wants that of the SHA-256 %s, which the cache does not have: put it there, or lock anew with --update", err, l.Name, content.SHA256)
	}
	return f, err
}

// Choices are the programs that others can take the place of, with other results: which one it was
// is in the lock, and in the command lines of those who are to make the same.
var Choices = []string{"debootstrap", "mmdebstrap"}

// chosenBy tells whether a program is to be used, where that is said: by the lock that a run is made
// from, or else by those of the choices that it is to have.
func chosenBy(l *lock.Session, tools []string, program string) (chosen, ok bool) {
	switch {
	case !slices.Contains(Choices, program):
		return false, false
	case l != nil && !l.Record:
		return l.HasTool(program), true
	}
	return slices.Contains(tools, program), len(tools) > 0
}

// installed tells whether a program is to be used that this machine may have.
func (b *Builder) installed(program string) (bool, error) {
	there := host.Installed(program)
	chosen, ok := chosenBy(b.lock(), b.Tools, program)
	switch {
	case !ok:
		if there && slices.Contains(Choices, program) && b.lock() != nil {
			b.lock().Use(program)
		}
		return there, nil
	case chosen && !there && b.lock() != nil && !b.lock().Record:
		return false, fmt.Errorf("%w: %s was made with it, and another program makes something else", host.Missing(program, ""), b.lock().Name)
	case chosen && !there:
		return false, host.Missing(program, "")
	}
	return chosen, nil
}

// uses notes what a step needs of this machine while the lock is made.
func (b *Builder) uses(s *Step) {
	if l := b.lock(); l != nil && l.Record {
		for _, need := range s.Needs {
			l.Use(need.Name)
		}
	}
}
