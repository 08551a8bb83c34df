package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/tree"
)

// The one effect that writes a whole root file system to a place of the user's: it has to be
// there as a whole or not at all, and nothing else may be touched.

// Export copies the root file system of the step into a directory below the target
// directory. With replace, one that is there gives way.
func Export(s *Step, dir string, replace bool) Act {
	return Act{Do: func(ctx context.Context, b *Builder) error {
		to := filepath.Join(b.Target, dir)
		e := exporter{b, s.Root}
		if err := e.export(ctx, to, replace); err != nil {
			return fmt.Errorf("cannot copy the rootfs to %s: %w", to, err)
		}
		b.Results = append(b.Results, to)
		return nil
	}}
}

// An exporter copies one root file system.
type exporter struct {
	*Builder
	root *Root
}

func (e exporter) export(ctx context.Context, to string, replace bool) error {
	abs, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	names, err := os.ReadDir(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(filepath.Dir(abs), 0o755); err != nil {
			return err
		}
		return e.appear(ctx, abs)
	case err != nil:
		return err
	case replace || len(names) == 0:
		if err := checkReplaceable(abs, names); err != nil {
			return err
		}
		return e.appear(ctx, abs)
	}
	if err := tidyBeside(abs); err != nil {
		return err
	}
	dir, err := dirfd.Open(abs, dirfd.Refuse)
	if err != nil {
		return err
	}
	defer dir.Close()
	return e.copyTo(ctx, dir, true)
}

// tidyBeside removes what a run that was killed has left beside a directory that it replaced.
func tidyBeside(place string) error {
	above, err := dirfd.Open(filepath.Dir(place), dirfd.Refuse)
	if err != nil {
		return err
	}
	defer above.Close()
	return above.RemoveAll(dirfd.TempName(filepath.Base(place)))
}

func (e exporter) copyTo(ctx context.Context, dir *dirfd.Dir, merge bool) error {
	if e.root.Empty() {
		return nil
	}
	_, err := tree.Copying.Run(ctx, []sandbox.Stack{e.stateOf(e.root).Stack()}, merge, dir.File())
	return err
}

// appear copies the root file system beside the place it is to have and, when it is
// complete, puts it there. All is done by the handle of the directory above, whatever
// others do to names meanwhile.
func (e exporter) appear(ctx context.Context, place string) (err error) {
	above, err := dirfd.Open(filepath.Dir(place), dirfd.Refuse)
	if err != nil {
		return err
	}
	defer above.Close()
	name := filepath.Base(place)
	mounted, err := above.Mounted(name)
	if err == nil && mounted != "" {
		err = fmt.Errorf("something is mounted on %s; unmount it first", filepath.Join(filepath.Dir(place), mounted))
	}
	if err != nil {
		return err
	}
	// Always the same name, so that what a killed process left there goes.
	fresh := dirfd.TempName(name)
	if err := above.RemoveAll(fresh); err != nil {
		return err
	}
	if err := makeRoot(above, fresh); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, above.RemoveAll(fresh)) }()
	dir, err := above.Sub(fresh)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := e.copyTo(ctx, dir, false); err != nil {
		return err
	}
	_, err = above.Supplant(fresh, name)
	return err
}

// makeRoot makes a directory as the root of an image is: 0755 and root's, whatever group
// the directory above gives to what is in it.
func makeRoot(above *dirfd.Dir, name string) error {
	if err := above.Mkdir(name, 0o755); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	if err := above.Chown(name, 0, 0); err != nil {
		return err
	}
	return above.Chmod(name, 0o755)
}

// checkReplaceable refuses to replace what is neither empty nor a root file system.
func checkReplaceable(dir string, names []fs.DirEntry) error {
	if len(names) == 0 {
		return nil
	}
	found := make(map[string]bool)
	for _, n := range names {
		found[n.Name()] = true
	}
	if !found["etc"] || !found["usr"] && !found["bin"] || dir == "/" {
		return errors.New("the directory is neither empty nor a root file system; remove it first")
	}
	return nil
}
