package layer

import (
	"context"
	"errors"
	"os"

	"imagebuilder/builtins/sandbox"
)

// The kind of root file system where overlayfs cannot serve: the same results, without
// reuse.

// notReused is why a step in a plain directory is never found in the store.
const notReused = "plain copies are not reused"

// A directory is a root file system where overlayfs cannot serve.
type directory struct {
	store *Store
	key   string
	place *sharedDir // nil: it is empty
}

// A sharedDir is the directory of one or several root file systems. It is changed in
// place by its only user, copied by one of several.
type sharedDir struct {
	path  string
	users int
}

func (d *directory) Key() string { return d.key }

// ID is the key: nothing that is made in a directory is found again.
func (d *directory) ID() string { return d.key }

func (d *directory) Fork() State {
	fork := *d
	if d.place != nil {
		d.place.users++
	}
	return &fork
}

func (d *directory) Stack() sandbox.Stack {
	return sandbox.Stack{Dir: d.place.path, ReadOnly: true, Point: d.store.Point()}
}

func (d *directory) Change(ctx context.Context, step Origin, run func(context.Context, sandbox.Stack) error) (Outcome, error) {
	out := Outcome{Key: step.key(d.key), Why: notReused}
	if err := d.own(ctx); err != nil {
		return out, err
	}
	d.key = out.Key
	room := d.store.watchRoom()
	err := run(ctx, sandbox.Stack{Dir: d.place.path, Point: d.store.Point()})
	full := room()
	if err == nil {
		err = step.check(ctx)
	}
	if err != nil {
		return out, errors.Join(err, d.store.full(little))
	}
	return out, full
}

func (d *directory) Try(ctx context.Context, run func(context.Context, sandbox.Stack) error) error {
	own := d.Fork().(*directory)
	if err := own.own(ctx); err != nil {
		return err
	}
	return run(ctx, sandbox.Stack{Dir: own.place.path, Point: d.store.Point()})
}

func (d *directory) Result(ctx context.Context, step Origin, run func(ctx context.Context, stack sandbox.Stack, dir string) error) (string, Outcome, error) {
	dir, err := d.store.scratch()
	if err == nil {
		err = run(ctx, d.Stack(), dir)
	}
	return dir, Outcome{Key: step.key(d.key), Why: notReused}, err
}

// own makes this root file system the only user of its directory.
func (d *directory) own(ctx context.Context) error {
	if d.place != nil && d.place.users == 1 {
		return nil
	}
	dir, err := d.store.scratch()
	if err != nil {
		return err
	}
	if d.place != nil {
		if err := copyTo(ctx, d.Stack(), dir); err != nil {
			return err
		}
		d.place.users--
	}
	d.place = &sharedDir{path: dir, users: 1}
	return nil
}

// scratch makes a directory that is removed at the end of the run, or by the next
// run if this one is killed.
func (s *Store) scratch() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run == nil {
		run, err := s.stage()
		if err != nil {
			return "", err
		}
		s.run = run
	}
	dir, err := os.MkdirTemp(s.run.Name(), "")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}
