package builtins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/sandbox"
)

// Export implements Worker.
func (w *Builder) Export(ctx context.Context, s *Step, dir string, replace bool) error {
	start := time.Now()
	to := filepath.Join(w.Target, dir)
	abs, err := filepath.Abs(to)
	if err == nil {
		err = os.MkdirAll(abs, 0o755)
	}
	if err != nil {
		return err
	}
	if replace {
		err = w.replace(ctx, s.Root, abs)
	} else {
		err = w.copyTo(ctx, s.Root, abs)
	}
	if err != nil {
		return fmt.Errorf("cannot copy the rootfs to %s: %w", to, err)
	}
	w.done(s, layer.Outcome{}, "it is done every time", start)
	w.Results = append(w.Results, to)
	return nil
}

func (w *Builder) copyTo(ctx context.Context, root *Rootfs, dir string) error {
	if root.tree.Empty() {
		return nil
	}
	spec := sandbox.Spec{Rootfs: root.tree.View(), Copy: &sandbox.Copy{To: dir, Merge: true}}
	_, err := sandbox.Run(ctx, spec, io.Discard)
	return err
}

// replace copies the root file system beside the directory and lets both change places.
func (w *Builder) replace(ctx context.Context, root *Rootfs, dir string) (err error) {
	if err := checkReplaceable(dir); err != nil {
		return err
	}
	// Always the same name, so that what a killed process left there goes.
	fresh := filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".new")
	if err := errors.Join(os.RemoveAll(fresh), os.Mkdir(fresh, 0o755)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(fresh)) }()
	if err := w.copyTo(ctx, root, fresh); err != nil {
		return err
	}
	return unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE)
}

// checkReplaceable refuses to replace what is neither empty nor a root file system.
func checkReplaceable(dir string) error {
	names, err := os.ReadDir(dir)
	if err != nil || len(names) == 0 {
		return err
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
