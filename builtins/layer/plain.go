package layer

import (
	"context"
	"errors"
	"os"

	"imagebuilder/builtins/sandbox"
)

// plainReason is why a step on a plain copy is never found in the store.
const plainReason = "plain copies are not reused"

// A plainDir is the root file system of one or several trees where overlayfs cannot
// serve. It is changed in place by its only user, copied by one of several.
type plainDir struct {
	path  string
	users int
}

func (t *Tree) changePlain(ctx context.Context, step Step, run func(context.Context, sandbox.Rootfs) error) (Outcome, error) {
	out := Outcome{Key: step.key(t.base.Key), Why: plainReason}
	if err := t.own(ctx); err != nil {
		return out, err
	}
	t.base = Base{Key: out.Key}
	if err := run(ctx, sandbox.Rootfs{Dir: t.dir.path, Point: t.store.Point()}); err != nil {
		return out, errors.Join(err, t.store.full())
	}
	return out, nil
}

// own makes the tree the only user of its directory.
func (t *Tree) own(ctx context.Context) error {
	if t.dir != nil && t.dir.users == 1 {
		return nil
	}
	dir, err := t.store.scratch()
	if err != nil {
		return err
	}
	if t.dir != nil {
		if err := copyTo(ctx, t.View(), dir); err != nil {
			return err
		}
		t.dir.users--
	}
	t.dir, t.below = &plainDir{path: dir, users: 1}, ""
	return nil
}

// scratch makes a directory that is removed at the end of the run, or by the next
// run if this one is killed.
func (s *Store) scratch() (string, error) {
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
