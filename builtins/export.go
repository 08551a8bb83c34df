package builtins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/sandbox"
)

// Export implements Worker.
func (w *Builder) Export(ctx context.Context, s *Step, dir string, replace bool) error {
	start := time.Now()
	to := filepath.Join(w.Target, dir)
	abs, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	names, err := os.ReadDir(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err = os.MkdirAll(filepath.Dir(abs), 0o755); err == nil {
			err = w.appear(ctx, s.Root, abs, 0)
		}
	case err != nil:
	case replace || len(names) == 0:
		if err = checkReplaceable(abs, names); err == nil {
			err = w.appear(ctx, s.Root, abs, unix.RENAME_EXCHANGE)
		}
	default:
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

// appear copies the root file system beside the directory and, when it is complete, gives
// it that name; or lets both change places, by RENAME_EXCHANGE.
func (w *Builder) appear(ctx context.Context, root *Rootfs, dir string, flags uint) (err error) {
	// Always the same name, so that what a killed process left there goes.
	fresh := filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".new")
	if err := errors.Join(checkMounts(fresh), checkMounts(dir)); err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(fresh), host.Mkdir(fresh)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(fresh)) }()
	if err := w.copyTo(ctx, root, fresh); err != nil {
		return err
	}
	return unix.Renameat2(unix.AT_FDCWD, fresh, unix.AT_FDCWD, dir, flags)
}

// checkMounts refuses a directory that something is mounted on or below: to remove it
// would remove that.
func checkMounts(dir string) error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line) // see proc_pid_mountinfo(5)
		if len(fields) < 5 {
			continue
		}
		point := unescape.Replace(fields[4])
		if rest, ok := strings.CutPrefix(point, dir); ok && (rest == "" || rest[0] == '/') {
			return fmt.Errorf("something is mounted on %s; unmount it first", point)
		}
	}
	return nil
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
