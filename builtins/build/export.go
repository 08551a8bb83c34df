package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/treetask"
)

// The one effect that writes a whole root file system to a place of the user's: it has to be
// there as a whole or not at all, and nothing else may be touched.

// Export copies the root file system of the step into a directory below the target
// directory. With replace, or if the root file system began as what is in that very
// directory, what is there gives way; else the copy is merged into it.
func Export(s *Step, dir string, replace bool) Act {
	e := func(b *Builder) exporter { return exporter{b, s.Root, replace} }
	return Act{
		Ready: func(target string) error {
			to := filepath.Join(target, dir)
			_, err := e(nil).destination(to)
			return cannotExport(to, err)
		},
		Do: func(ctx context.Context, b *Builder) error {
			to := filepath.Join(b.Target, dir)
			if err := e(b).export(ctx, to); err != nil {
				return cannotExport(to, err)
			}
			b.Results = append(b.Results, Result{Path: to})
			return nil
		},
	}
}

func cannotExport(to string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot copy the rootfs to %s: %w", to, err)
}

// Exported asks for the root file system that Export has put, or the user has, into a
// directory below the target directory. One that is not there is empty.
func Exported(name, dir string) Question[*Root] {
	begin := func(target string, fingerprint func(dir string) (string, error)) (*Root, error) {
		p, err := placeAt(filepath.Join(target, dir))
		if err != nil || len(p.names) == 0 {
			return NewRoot(name, "", "", ""), err
		}
		print, err := fingerprint(p.path)
		return NewRoot(name, "", p.path, print), err
	}
	return Question[*Root]{
		What: "exported",
		Find: func(ctx context.Context, b *Builder) (*Root, error) {
			return begin(b.Target, func(dir string) (string, error) { return Fingerprint(dir).Find(ctx, b) })
		},
		Assume: func(p *Planner) (*Root, bool) {
			if p.Target == "" {
				return NewRoot(name, "", "", ""), true
			}
			root, _ := begin(p.Target, func(string) (string, error) { return "", nil }) // the export says what is wrong
			return root, true
		},
	}
}

// An exporter copies one root file system.
type exporter struct {
	*Builder
	root    *Root
	replace bool
}

// destination looks at where it is to go, and finds what stands in its way.
func (e exporter) destination(to string) (place, error) {
	p, err := placeAt(to)
	switch {
	case err != nil || !p.there:
		return p, err
	case e.root.Source == p.path:
		return p, p.checkUnmounted()
	case e.replace || len(p.names) == 0:
		return p, p.checkReplaceable()
	}
	return p, nil
}

func (e exporter) export(ctx context.Context, to string) error {
	p, err := e.destination(to)
	if err == nil {
		err = e.root.intact(ctx, e.Builder)
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(p.path), 0o755)
	}
	if err != nil {
		return err
	}
	if e.Builder.exported == nil {
		e.Builder.exported = make(map[string]bool)
	}
	e.Builder.exported[p.path] = true
	return e.alone(ctx, filepath.Dir(p.path), func() error { return e.put(ctx, to) })
}

// put copies to where nobody else does.
func (e exporter) put(ctx context.Context, to string) error {
	p, err := e.destination(to) // as it is after the others
	if err != nil {
		return err
	}
	if !p.there {
		return e.appear(ctx, p.path)
	}
	merge := !e.replace && e.root.Source != p.path && len(p.names) > 0
	if !merge && !p.stays {
		return e.appear(ctx, p.path)
	}
	if !p.stays {
		if err := tidyBeside(p.path); err != nil {
			return err
		}
	}
	dir, err := dirfd.Open(p.path, dirfd.Refuse)
	if err != nil {
		return err
	}
	defer dir.Close()
	if merge {
		return e.copyTo(ctx, dir, treetask.Manner{Merge: true})
	}
	return e.refill(ctx, dir)
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

func (e exporter) copyTo(ctx context.Context, dir *dirfd.Dir, m treetask.Manner) error {
	if e.root.Empty() {
		return nil
	}
	m.Epoch = e.Epoch
	_, err := treetask.Copying.Run(ctx, []sandbox.Stack{e.stateOf(e.root).Stack()}, m, dir.File())
	return err
}

// stage copies the root file system into a new directory below dir. All is done by handles,
// whatever others do to names meanwhile.
func (e exporter) stage(ctx context.Context, dir *dirfd.Dir, name string, m treetask.Manner) error {
	// Always the same name, so that what a killed process left there goes.
	if err := dir.RemoveAll(name); err != nil {
		return err
	}
	if err := makeRoot(dir, name); err != nil {
		return err
	}
	fresh, err := dir.Sub(name)
	if err != nil {
		return err
	}
	return errors.Join(e.copyTo(ctx, fresh, m), fresh.Close())
}

// appear copies the root file system beside the place it is to have and, when it is
// complete, puts it there.
func (e exporter) appear(ctx context.Context, place string) (err error) {
	above, err := dirfd.Open(filepath.Dir(place), dirfd.Refuse)
	if err != nil {
		return err
	}
	defer above.Close()
	name := filepath.Base(place)
	fresh := dirfd.TempName(name)
	defer func() { err = errors.Join(err, above.RemoveAll(fresh)) }()
	if err := e.stage(ctx, above, fresh, treetask.Manner{}); err != nil {
		return err
	}
	_, err = above.Supplant(fresh, name)
	return err
}

// refill replaces what is in a directory that is not replaced itself, as something is mounted
// on it or our caller is in it. What is there stays until the copy is complete.
func (e exporter) refill(ctx context.Context, dir *dirfd.Dir) (err error) {
	fresh := dirfd.TempName("rootfs")
	defer func() { err = errors.Join(err, dir.RemoveAll(fresh)) }()
	// What the root file system began as may be this very directory.
	if err := e.stage(ctx, dir, fresh, treetask.Manner{Omit: fresh}); err != nil {
		return err
	}
	old, err := dir.ReadDir(".")
	if err != nil {
		return err
	}
	names, err := dir.ReadDir(fresh)
	if err != nil {
		return err
	}
	for _, name := range old {
		if name == fresh || name == "lost+found" && !slices.Contains(names, name) {
			continue
		}
		if err := dir.RemoveAll(name); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := dir.Rename(path.Join(fresh, name), name); err != nil {
			return err
		}
	}
	st, err := dir.Stat(fresh)
	if err != nil {
		return err
	}
	return errors.Join(dir.Chown(".", int(st.Uid), int(st.Gid)), dir.Chmod(".", st.Mode&0o7777))
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
