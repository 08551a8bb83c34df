package windows

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/sandbox"
)

// How a medium with other images is made: it is unpacked into a scratch directory and packed
// again without its files of images, while these are edited side by side; then they are put
// behind all else.

// An Injection is what an image is to get.
type Injection struct {
	Name    string      `json:"name"` // what it is for
	Files   []Placement `json:"files"`
	Missing []string    `json:"missing,omitempty"` // what it could be besides, for readers
	Moves   []Move      `json:"moves,omitempty"`
	Hives   []Hive      `json:"hives"`
}

// A Placement puts a file of the drivers into an image. Paths in the image have slashes and
// need not be spelt as they are there.
type Placement struct {
	Source string   `json:"source"`
	SHA256 string   `json:"sha256"`
	To     []string `json:"to"`
}

// A Move renames a file of the image if it is there.
type Move struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// A Hive is a file of the registry and the keys it is to have.
type Hive struct {
	Path     string `json:"path"`
	Required bool   `json:"required"` // else an image that has none goes without, with a warning
	Keys     []Key  `json:"keys"`
}

// An Edit is an injection into an image of the medium.
type Edit struct {
	File      string     `json:"file"` // of images, as it is spelt on the medium
	Index     int        `json:"index"`
	Image     string     `json:"image"` // its name
	Injection *Injection `json:"injection"`
	Has       string     `json:"has"` // what it has got before; see WIMImage
}

// Needed tells whether the image has not got all of this before.
func (e Edit) Needed() bool { return e.Has != e.Injection.digest() }

// digest is what an injection is known by.
func (i *Injection) digest() string {
	text, err := json.Marshal(i)
	if err != nil {
		panic(fmt.Sprintf("internal error: an injection: %v", err)) // texts and numbers
	}
	return digest.Sum(text).String()
}

// A BootEntry is one of the ways in which a medium boots.
type BootEntry struct {
	Path     string `json:"path"`     // of its image, which need not be there
	Platform string `json:"platform"` // "bios" or "efi"
	Sectors  int    `json:"sectors"`  // that the firmware loads, of 512 bytes
}

// A Job is a medium to be made of another one.
type Job struct {
	Medium    *Volume
	Drivers   fs.FS
	Edits     []Edit
	Boot      []BootEntry
	Scratch   string    // directory of the host, empty, on which all of the medium has room twice; see ResultName
	Output    io.Writer // gets what programs print
	Log       *slog.Logger
	Epoch     host.Epoch                  // of the new medium
	Meanwhile func(context.Context) error // is done while the new medium is written

	// Progress begins to show how far a part of the work is, which has so many bytes; add is told
	// of those that are done, by several goroutines.
	Progress func(name string, total int64) (add func(bytes int64), end func())
}

// workDir is where the programs find the scratch directory.
const workDir = sandbox.FilesDir + "/work"

// Names in the scratch directory.
const (
	mediumDir  = "medium"
	wimsDir    = "wims"
	driversDir = "drivers"
	imagesDir  = "images"
)

// Repack makes the medium, as ResultName in the scratch directory.
func (j *Job) Repack(ctx context.Context) error {
	scratch, err := dirfd.Open(j.Scratch, dirfd.Refuse)
	if err != nil {
		return err
	}
	defer scratch.Close()
	for _, name := range []string{mediumDir, wimsDir, driversDir, imagesDir} {
		if err := scratch.Mkdir(name, 0o755); err != nil {
			return err
		}
	}
	if err := j.takeDrivers(ctx, scratch); err != nil {
		return err
	}
	files := j.files()
	if err := j.prepare(ctx, scratch, files); err != nil {
		return err
	}
	return j.complete(ctx, scratch, files)
}

// prepare edits the files of images, and makes the new medium with all but them.
func (j *Job) prepare(ctx context.Context, scratch *dirfd.Dir, files []string) error {
	_, size := j.Medium.Sizes()
	copied, end := j.Progress("unpack the medium", size)
	defer end()
	work, workCtx := errgroup.WithContext(ctx)
	for _, name := range files {
		work.Go(func() error {
			if err := j.unpack(workCtx, scratch, wimsDir, name, copied); err != nil {
				return err
			}
			return j.edit(workCtx, scratch, name)
		})
	}
	work.Go(func() error {
		if err := j.unpackOthers(workCtx, scratch, files, copied); err != nil {
			return err
		}
		return j.pack(workCtx)
	})
	return errors.Join(work.Wait(), context.Cause(ctx))
}

// files are the files of images that are edited, each once.
func (j *Job) files() []string {
	var names []string
	seen := make(map[string]bool)
	for _, e := range j.Edits {
		if !seen[e.File] {
			seen[e.File] = true
			names = append(names, e.File)
		}
	}
	return names
}

// takeDrivers copies what images get of the drivers, each file under its digest.
func (j *Job) takeDrivers(ctx context.Context, scratch *dirfd.Dir) error {
	taken := make(map[string]bool)
	for _, e := range j.Edits {
		for _, p := range e.Injection.Files {
			if taken[p.SHA256] {
				continue
			}
			taken[p.SHA256] = true
			if err := errors.Join(takeDriver(scratch, j.Drivers, p), context.Cause(ctx)); err != nil {
				return err
			}
		}
	}
	return nil
}

func takeDriver(scratch *dirfd.Dir, drivers fs.FS, p Placement) error {
	data, sum, modified, err := readDriver(drivers, p.Source)
	if err != nil {
		return err
	}
	if sum != p.SHA256 {
		return fmt.Errorf("%s of the drivers has changed: it has the SHA-256 %s, not %s; run again", p.Source, sum, p.SHA256)
	}
	w, err := scratch.Create(path.Join(driversDir, p.SHA256), 0o644)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return errors.Join(err, setTime(w, modified), w.Close())
}

// run runs programs of the host one after the other, which see the scratch directory at workDir
// and write there and nowhere else.
func (j *Job) run(ctx context.Context, out io.Writer, list ...sandbox.Program) error {
	spec := sandbox.Spec{
		Mounts: []sandbox.Mount{{At: workDir, Source: j.Scratch, Writable: true}},
		NoSync: true, // it is scratch
		NoNet:  true,
	}
	env := j.Epoch.In(host.Environ(map[string]string{"WIMLIB_IMAGEX_IGNORE_CASE": "1"}))
	return sandbox.Run(ctx, spec, sandbox.Programs{List: list, Env: env}, out)
}

// at is where programs find what is in the scratch directory.
func at(elements ...string) string { return path.Join(append([]string{workDir}, elements...)...) }

// step says on the log that a long part of the work begins, and what ends it says how long that
// took.
func (j *Job) step(what string) (done func()) {
	start := time.Now()
	j.Log.Info("running", "step", "repack_windows", "what", what)
	return func() { j.Log.Info("step", "step", "repack_windows", "what", what, "took", time.Since(start)) }
}

// Check finds what is wrong with what a recipe says.
func (e Edit) Check() error {
	for _, p := range e.Injection.Files {
		for _, to := range p.To {
			if err := checkPath(to); err != nil {
				return err
			}
		}
	}
	for _, m := range e.Injection.Moves {
		if err := errors.Join(checkPath(m.From), checkPath(m.To)); err != nil {
			return err
		}
	}
	for _, h := range e.Injection.Hives {
		if err := checkPath(h.Path); err != nil {
			return err
		}
		for _, k := range h.Keys {
			if err := k.Check(); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkPath refuses what is no path in an image, or what the commands of wimlib cannot say.
func checkPath(name string) error {
	if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "\"\r\n\\") {
		return fmt.Errorf("not a path in an image, with slashes: %q", name)
	}
	return nil
}

// Needs are the programs that Repack runs, with the Debian packages that bring them.
var Needs = [][2]string{{"genisoimage", "genisoimage"}, {"hivexregedit", "libwin-hivex-perl"}, {"wimlib-imagex", "wimtools"}}

// hostPath is where something in the scratch directory is.
func (j *Job) hostPath(elements ...string) string {
	return filepath.Join(append([]string{j.Scratch}, elements...)...)
}
