package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/pack"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/squashfs"
)

// What all packed images have in common: their files are results of the store, made apart
// and published together.

// A part is one file of a packed image.
type part struct {
	what   string        // it is of an image, whatever its name
	file   string        // its name, if it is made now
	args   Args          // what it depends on besides the root file system
	maxAge time.Duration // how old it may be; 0: of any age
	make   func(context.Context, pack.Job) error
}

// packed is the product of the files of an image, which are put into a directory below the
// target directory. The last of them has the root file system, and its name for itself: of
// the metadata a container and a virtual machine may share a file.
func packed(s *Step, image *Image, dir string, parts []part) Product {
	p := Product{OfRoot: true, Claim: path.Join(dir, parts[len(parts)-1].file)}
	for _, one := range parts {
		p.Files = append(p.Files, &File{Name: one.file})
	}
	p.Ready = func(target string) error {
		for _, f := range p.Files {
			name := filepath.Join(target, dir, f.Name)
			if st, err := os.Lstat(name); err == nil && st.IsDir() {
				return fmt.Errorf("cannot write %s: it is a directory; remove it first", name)
			}
		}
		return nil
	}
	p.Do = func(ctx context.Context, b *Builder) ([]*File, error) {
		k := packer{b, s, image, dir}
		return k.pack(ctx, parts)
	}
	return p
}

// A packer makes the files of one image.
type packer struct {
	*Builder
	step  *Step
	image *Image
	dir   string
}

// pack makes or finds the files. One of the store that turns out to be damaged when it is
// copied is made anew, once.
func (k packer) pack(ctx context.Context, parts []part) ([]*File, error) {
	start := time.Now()
	warn := k.lookForPrivate(ctx)
	files, outcome, why, err := k.parts(ctx, parts)
	err = errors.Join(err, warn())
	if errors.Is(err, pack.ErrDamaged) {
		k.Log.Warn("the cache is damaged: packing again", "step", k.step.Label, "cause", err)
		if err = forget(files); err == nil {
			files, outcome, why, err = k.parts(ctx, parts)
		}
	}
	if err != nil {
		return nil, err
	}
	k.done(k.step, outcome, why, start)
	for _, f := range slices.Concat(files, files[len(files)-1].Documents) {
		k.Results = append(k.Results, Result{filepath.Join(k.Target, k.dir, f.Name), f.Size, f.SHA256})
	}
	return files, nil
}

// parts makes or finds the files and puts them into the target directory.
func (k packer) parts(ctx context.Context, parts []part) ([]*File, layer.Outcome, string, error) {
	var set []pack.Result
	var files []*File
	outcome, why := layer.Outcome{Hit: true}, ""
	made := k.Now // the image, which is when its metadata were
	for i, p := range parts {
		file, o, because, err := k.part(ctx, p)
		if err != nil {
			return nil, o, "", err
		}
		if !o.Hit {
			outcome, why = o, because
		}
		if i == 0 && !o.Made.IsZero() {
			made = o.Made
		}
		outcome.Key = o.Key // of the last part, found or made: provenance is to say the same of both
		files = append(files, file)
		set = append(set, pack.Result{Path: file.path, Name: file.Name, Size: file.Size, SHA256: file.SHA256, Fresh: !o.Hit})
	}
	if k.Documents {
		var err error
		last := files[len(files)-1]
		if last.Documents, err = k.documents(ctx, last, made); err != nil {
			return nil, outcome, "", fmt.Errorf("cannot say what is in the image: %w", err)
		}
		for _, f := range last.Documents {
			set = append(set, pack.Result{Path: f.path, Name: f.Name, Size: f.Size, SHA256: f.SHA256})
		}
	}
	return files, outcome, why, k.publish(ctx, set)
}

// publish puts the files into the target directory, while no other run does: what is there is of
// one of them, and so is what SHA256SUMS says.
func (k packer) publish(ctx context.Context, set []pack.Result) error {
	dir := filepath.Join(k.Target, k.dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return k.alone(ctx, dir, func() error {
		if k.Documents {
			return k.putWithSums(ctx, set)
		}
		return k.put(ctx, set)
	})
}

// alone puts results into a directory while no other run with this cache does, by whatever path.
func (b *Builder) alone(ctx context.Context, dir string, put func() error) error {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	name := fmt.Sprintf("directory-%x-%x", st.Dev, st.Ino)
	return b.Store.Alone(ctx, name, "waiting for another run that has results for "+dir, put)
}

// put puts the files into the target directory, and remembers which it has put there.
func (k packer) put(ctx context.Context, set []pack.Result) error {
	dir := filepath.Join(k.Target, k.dir)
	abs, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	questions := make([]string, len(set))
	for i, r := range set {
		question, err := json.Marshal([]string{"published", filepath.Join(abs, r.Name)})
		if err != nil {
			return fmt.Errorf("internal error: %w", err)
		}
		questions[i] = string(question)
		if before := k.History.Answered(questions[i]); before != nil {
			json.Unmarshal(before, &set[i].Seen) // what cannot be read is no mark of anything
		}
	}
	if err := pack.Publish(ctx, dir, set); err != nil {
		return err
	}
	for i, r := range set {
		mark, err := json.Marshal(r.Seen)
		if err != nil {
			return fmt.Errorf("internal error: %w", err)
		}
		k.History.Answer(questions[i], mark)
	}
	return nil
}

// part makes one file, or finds it in the store.
func (k packer) part(ctx context.Context, p part) (*File, layer.Outcome, string, error) {
	inputs, err := append(p.args[:len(p.args):len(p.args)], Arg{"epoch", k.Epoch}).inputs()
	if err != nil {
		return nil, layer.Outcome{}, "", err
	}
	st := layer.Origin{Name: k.step.Builtin, Inputs: append(inputs, layer.Input{Name: "result", Value: p.what}), Summary: p.file,
		MaxAge: p.maxAge, Intact: stillDescribed}
	state := k.stateOf(k.step.Root)
	why := k.History.Explain(state.Key(), st)
	out := k.output(k.step)
	dir, outcome, err := state.Result(ctx, st, func(ctx context.Context, stack sandbox.Stack, dir string) error {
		k.running(k.step, p.file, out)
		job := pack.Job{Stack: stack, Dir: dir, Name: p.file, Out: out, Log: k.Log, Made: k.made, Explain: k.Explain, Epoch: k.Epoch}
		if k.Progress != nil {
			job.Progress = k.Progress.Start
		}
		if err := p.make(ctx, job); err != nil {
			return err
		}
		return describe(dir, p.file)
	})
	if err = k.close(ctx, out, err); err != nil {
		return nil, outcome, why, err
	}
	file, err := described(dir)
	return file, outcome, why, err
}

// tarPart is the root file system as an archive.
func tarPart(c pack.Compression) part {
	return part{
		what: "rootfs",
		file: "rootfs.tar" + c.Suffix(),
		args: Args{{"compression", c.String()}},
		make: func(ctx context.Context, job pack.Job) error { return job.Tar(ctx, c) },
	}
}

// squashfsPart is the root file system as a squashfs image, made by a packer.
func squashfsPart(c pack.Compression, packer string) part {
	return part{
		what: "squashfs",
		file: pack.RootSquashfs,
		args: Args{{"compression", c.String()}, {"packer", packer}},
		make: func(ctx context.Context, job pack.Job) error { return job.Squashfs(ctx, c, packer) },
	}
}

// maxMade is how many results of before are looked into.
const maxMade = 64

// SharedBlocks counts the blocks of the squashfs images and of the archives of a store.
func SharedBlocks(store *layer.Store) (images, archives squashfs.Shared, err error) {
	count := func(name string, add func(index io.Reader) error) error {
		entries, err := store.Latest(name, math.MaxInt)
		for _, e := range entries {
			f, err := os.Open(filepath.Join(e.Data(), name))
			if err != nil {
				return err
			}
			add(f) // of one that is damaged nothing is counted: a build says so
			f.Close()
		}
		return err
	}
	err = errors.Join(
		count(pack.BlocksOf(pack.RootSquashfs), images.Add),
		count(pack.ArchiveBlocks, func(index io.Reader) error { return pack.CountArchive(&archives, index) }))
	return images, archives, err
}

// made returns the results that hold a file.
func (k packer) made(file string) []pack.Made {
	entries, err := k.Store.Latest(file, maxMade)
	if err != nil {
		k.Log.Warn("cannot look for what was made before", "cause", err)
	}
	var made []pack.Made
	for _, e := range entries {
		made = append(made, pack.Made{Dir: e.Data(), Use: func() {
			if err := e.Touch(); err != nil {
				k.Log.Warn("cannot count a result as used", "cause", err)
			}
		}})
	}
	return made
}
