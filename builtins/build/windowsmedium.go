package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/pack"
	"imagebuilder/builtins/windows"
)

// A new installation medium of Windows. It is as large as the old one, so the store keeps no
// copy: it remembers which file of the user's is the result, and what that looks like.

// A WindowsRepack is a medium to be made of another.
type WindowsRepack struct {
	Medium  WindowsSource
	Drivers WindowsSource
	Edits   []windows.Edit
	Boot    []windows.BootEntry
	Name    string // of the new medium
	Dir     string // below the target directory

	look string // of a medium that has no digest
}

// RepackWindows makes the medium. It gives the step its needs and what it depends on.
func RepackWindows(s *Step, r WindowsRepack) Product {
	for _, need := range windows.Needs {
		s.Needs = append(s.Needs, Need{Name: need[0], Package: need[1]})
	}
	s.Also = Args{{"edits", r.Edits}, {"boot", r.Boot}}
	if r.Medium.File == nil {
		r.look, _ = lookOf(unix.Stat, r.Medium.Path) // one that is not there has none
		s.Also = append(s.Also, Arg{"look of the medium", r.look})
	}
	s.Details = r.details()
	return Product{
		Claim: path.Join(r.Dir, r.Name),
		Ready: r.ready,
		Do: func(ctx context.Context, b *Builder) ([]*File, error) {
			return nil, b.repackWindows(ctx, s, r)
		},
	}
}

// target is where the medium is to be.
func (r WindowsRepack) target(dir string) (string, error) {
	return filepath.Abs(filepath.Join(dir, r.Dir, r.Name))
}

// ready finds what stands in the way at the target.
func (r WindowsRepack) ready(dir string) error {
	to, err := r.target(dir)
	if err != nil {
		return err
	}
	there, err := os.Stat(to)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case there.IsDir():
		return fmt.Errorf("cannot write the new medium to %s: it is a directory", to)
	}
	for _, from := range []string{r.Medium.hostPath(), r.Drivers.hostPath()} {
		if st, err := os.Stat(from); err == nil && os.SameFile(st, there) {
			return fmt.Errorf("cannot write the new medium to %s: it is what the new one is made of; give it another name", to)
		}
	}
	return nil
}

// A made medium is what is remembered of one.
type madeMedium struct {
	Look string `json:"look"` // of the file
}

const madeName = "medium.json"

func (b *Builder) repackWindows(ctx context.Context, s *Step, r WindowsRepack) error {
	start := time.Now()
	to, err := r.target(b.Target)
	if err == nil {
		err = r.ready(b.Target)
	}
	if err != nil {
		return err
	}
	inputs, err := b.inputs(ctx, s)
	if err != nil {
		return err
	}
	st := layer.Origin{Name: s.Builtin, Inputs: append(b.dated(inputs), layer.Input{Name: "result", Value: to}), Summary: s.Summary(), Intact: stillDescribed}
	why, made, kept := b.History.Explain("", st), madeMedium{}, false
	_, err = b.Store.Revise(ctx, st, func(old *layer.Entry, dir string) (keep bool, err error) {
		if old != nil && !b.Store.Refreshing() {
			if made, err = readMade(old.Data()); err != nil {
				return false, err
			}
			if look, err := lookOf(unix.Lstat, to); err == nil && look == made.Look {
				kept = true
				return true, nil
			}
		}
		if old != nil {
			why = "the result is no longer what it was"
		}
		work := filepath.Join(filepath.Dir(dir), "work")
		if made, err = b.makeMedium(ctx, s, r, work, to); err != nil {
			return false, err
		}
		return false, writeMade(dir, made)
	})
	if err != nil {
		return err
	}
	b.done(s, layer.Outcome{Hit: kept}, why, start)
	b.Results = append(b.Results, Result{Path: filepath.Join(b.Target, r.Dir, r.Name)})
	return nil
}

func readMade(dir string) (made madeMedium, err error) {
	data, err := os.ReadFile(filepath.Join(dir, madeName))
	if err == nil {
		err = json.Unmarshal(data, &made)
	}
	return made, err
}

func writeMade(dir string, made madeMedium) error {
	data, err := json.Marshal(made)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, madeName), data, 0o600)
	}
	if err != nil {
		return err
	}
	return describe(dir, madeName)
}

// lookOf tells a file from what it is once somebody has changed it.
func lookOf(stat func(string, *unix.Stat_t) error, name string) (string, error) {
	var st unix.Stat_t
	err := stat(name, &st)
	return fmt.Sprint(st.Dev, st.Ino, st.Mode, st.Size, st.Mtim, st.Ctim), err
}

// makeMedium makes the medium, in a scratch directory that it makes and removes.
func (b *Builder) makeMedium(ctx context.Context, s *Step, r WindowsRepack, work, to string) (made madeMedium, err error) {
	medium, err := windows.OpenVolume(r.Medium.hostPath())
	if err != nil {
		return made, err
	}
	defer medium.Close()
	drivers, end, err := r.Drivers.open()
	if err != nil {
		return made, err
	}
	defer func() { err = errors.Join(err, end()) }()
	if err := errors.Join(os.Mkdir(work, 0o700), os.MkdirAll(filepath.Dir(to), 0o755)); err != nil {
		return made, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if err := checkRoom(medium, r, work, filepath.Dir(to)); err != nil {
		return made, err
	}
	for _, e := range r.Edits {
		if !e.Needed() {
			b.Log.Info("an image has got the same before: it stays as it is", "file", e.File, "image", e.Index)
		}
	}
	out := b.output(s)
	job := &windows.Job{
		Medium: medium, Drivers: drivers, Edits: r.needed(), Boot: r.Boot, Scratch: work, Output: &together{w: out}, Log: b.Log, Epoch: b.Epoch,
		Meanwhile: func(context.Context) error { return r.unchanged() }, Progress: b.progress,
	}
	if err := b.close(ctx, out, job.Repack(ctx)); err != nil {
		return made, err
	}
	return appear(ctx, work, to)
}

// appear puts a finished medium in its place and removes all else of the scratch directory.
func appear(ctx context.Context, work, to string) (made madeMedium, err error) {
	dir, err := dirfd.Open(filepath.Dir(to), dirfd.Refuse)
	if err != nil {
		return made, err
	}
	defer dir.Close()
	f, err := os.Open(filepath.Join(work, windows.ResultName))
	if err != nil {
		return made, err
	}
	defer f.Close()
	// What is not synced goes at no cost.
	if err := errors.Join(unpublished(work), unix.Fchmod(int(f.Fd()), 0o644), f.Sync(), context.Cause(ctx)); err != nil {
		return made, err
	}
	if err := move(ctx, f.Name(), dir, to); err != nil {
		return made, err
	}
	made.Look, err = lookOf(unix.Lstat, to)
	return made, errors.Join(err, dir.Sync("."))
}

// unpublished removes all but the new medium of a scratch directory.
func unpublished(work string) error {
	entries, err := os.ReadDir(work)
	for _, e := range entries {
		if e.Name() != windows.ResultName {
			err = errors.Join(err, os.RemoveAll(filepath.Join(work, e.Name())))
		}
	}
	return err
}

// move gives a file its name in a directory, of another file system if need be.
func move(ctx context.Context, from string, dir *dirfd.Dir, to string) error {
	name := filepath.Base(to)
	err := dir.Change("rename", name, func(fd int, base string) error { return unix.Renameat(unix.AT_FDCWD, from, fd, base) })
	if !errors.Is(err, unix.EXDEV) {
		return err
	}
	made, err := openFile(from, name)
	if err != nil {
		return err
	}
	return pack.Publish(ctx, filepath.Dir(to), []pack.Result{{Path: from, Name: name, Size: made.Size, SHA256: made.SHA256, Fresh: true}})
}

// unchanged finds out whether what was read is what the step depends on.
func (r WindowsRepack) unchanged() error {
	f := r.Medium.File
	if f == nil {
		look, err := lookOf(unix.Stat, r.Medium.Path)
		if err == nil && look != r.look {
			err = fmt.Errorf("%s was changed while it was read; run again", r.Medium.Name())
		}
		return err
	}
	if err := f.intact(); err != nil {
		return errors.Join(err, f.forget())
	}
	return nil // of the drivers each file has its digest
}

// checkRoom finds out whether there is room in the scratch directory for the medium, with what the
// images get, and for the new one, and for that in its place.
func checkRoom(medium *windows.Volume, r WindowsRepack, work, target string) error {
	_, size := medium.Sizes()
	const margin = 64 << 20 // hives, and what programs need besides
	size += margin
	for _, e := range r.Edits {
		size += int64(len(e.Injection.Files)) << 20
	}
	var scratch, result unix.Statfs_t
	if err := errors.Join(unix.Statfs(work, &scratch), unix.Statfs(target, &result)); err != nil {
		return err
	}
	if scratch.Fsid == result.Fsid {
		return enough(scratch, 2*size, "of the cache and of the result")
	}
	return errors.Join(enough(scratch, 2*size, "of the cache"), enough(result, size, "of the result"))
}

func enough(st unix.Statfs_t, size int64, of string) error {
	free := int64(st.Bavail) * st.Bsize
	if free >= size {
		return nil
	}
	return fmt.Errorf("the file system %s has not enough room: %s are needed, %s are free; make room, or choose another one by --cache or the place of the result",
		of, bytesize.Size(size), bytesize.Size(free))
}

// progress shows how far a step is, where downloads show that.
func (b *Builder) progress(name string, total int64) (add func(int64), end func()) {
	if b.Progress == nil {
		return func(int64) {}, func() {}
	}
	bar, some := b.Progress.Start(name, total), make([]byte, 1<<20)
	add = func(n int64) {
		for ; n > 0; n -= min(n, int64(len(some))) {
			bar.Write(some[:min(n, int64(len(some)))])
		}
	}
	return add, func() { bar.Close() }
}

// together writes what several programs print at a time.
type together struct {
	mu sync.Mutex
	w  io.Writer
}

func (t *together) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.w.Write(p)
}

// PlanArgs are what a plan shows of the work: which images there are, and which files each kind
// of them gets.
func (r WindowsRepack) PlanArgs() Args {
	args := Args{{"iso", r.Medium.plain()}, {"drivers", r.Drivers.plain()}}
	if len(r.Edits) > 0 {
		var images []any
		for _, e := range r.Edits {
			has := ""
			if !e.Needed() {
				has = ", which it has"
			}
			images = append(images, fmt.Sprintf("%s %d, %s: %s%s", e.File, e.Index, e.Image, e.Injection.Name, has))
		}
		args = append(args, Arg{"images", images})
	}
	for _, kind := range r.kinds() {
		var files []any
		for _, p := range kind.Files {
			files = append(files, p.Source+" to "+strings.Join(p.To, ", "))
		}
		args = append(args, Arg{"files for " + kind.Name, files})
		if len(kind.Missing) > 0 {
			args = append(args, Arg{"missing for " + kind.Name, strings.Join(kind.Missing, "\n")})
		}
	}
	return append(args, Arg{"path", path.Join(r.Dir, r.Name)})
}

// details are the registry values that each kind of image gets.
func (r WindowsRepack) details() Args {
	var args Args
	for _, kind := range r.kinds() {
		var text strings.Builder
		for _, h := range kind.Hives {
			for _, k := range h.Keys {
				fmt.Fprintf(&text, "%s\\%s\n", path.Base(h.Path), k.Path)
				for _, v := range k.Values {
					fmt.Fprintf(&text, "    %s\n", v)
				}
			}
		}
		args = append(args, Arg{"registry for " + kind.Name, text.String()})
	}
	return args
}

// needed are the edits of images that have not got the same before.
func (r WindowsRepack) needed() []windows.Edit {
	return slices.DeleteFunc(slices.Clone(r.Edits), func(e windows.Edit) bool { return !e.Needed() })
}

// kinds are the injections, each once.
func (r WindowsRepack) kinds() []*windows.Injection {
	var kinds []*windows.Injection
	seen := make(map[string]bool)
	for _, e := range r.Edits {
		if !seen[e.Injection.Name] {
			seen[e.Injection.Name] = true
			kinds = append(kinds, e.Injection)
		}
	}
	return kinds
}
