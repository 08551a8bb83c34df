package pack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/squashfs"
)

// A root file system as a squashfs image, whose blocks are taken from images made before as
// far as they are the same.

// Packers of squashfs.
const (
	Own        = "imagebuilder" // compresses nothing twice
	Mksquashfs = "mksquashfs"   // of squashfs-tools
)

// packerOf returns the packer for a compression: not all have one of our own.
func (c Compression) packerOf(packer string) string {
	if packer != Mksquashfs && slices.Contains(squashfs.Methods, c.Method) {
		return Own
	}
	return Mksquashfs
}

// SquashfsProgram is the program of the host that a packer needs for this, and the package
// that has it; or nothing.
func (c Compression) SquashfsProgram(packer string) string {
	if c.packerOf(packer) == Mksquashfs {
		return "mksquashfs"
	}
	return squashfs.ProgramOf(c.Method, c.Level)
}

// blocksSuffix is added to the name of an image for its index, which is beside it in the store.
const blocksSuffix = ".blocks"

// Squashfs packs the root file system as a squashfs image by a packer, [Own] unless another
// is named. Access control lists, which squashfs cannot hold, are lost; that is said.
func (j Job) Squashfs(ctx context.Context, c Compression, packer string) error {
	c, err := c.Squashfs()
	if err != nil {
		return err
	}
	if c.packerOf(packer) == Mksquashfs {
		return j.mksquashfs(ctx, c)
	}
	s := squashing{Compression: c, Name: j.Name}
	if epoch := host.Epoch(); epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return err
		}
		s.Epoch = &seconds
	}
	if name := squashfs.ProgramOf(c.Method, c.Level); name != "" {
		if s.Program.Path, err = host.Find(name); err != nil {
			return err
		}
		s.Program.Env = host.Environ(nil)
	}
	made, files, err := j.open()
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if err != nil {
		return err
	}
	for _, m := range made {
		s.Made = append(s.Made, m.Dir)
	}
	done, err := Squashing.Run(ctx, []sandbox.Stack{j.Stack}, s, files...)
	if err != nil {
		return fmt.Errorf("cannot make %s: %w", j.Name, err)
	}
	j.tell(done, made)
	return nil
}

// open makes the files of an image, and opens those of images made before: image and index
// in turn.
func (j Job) open() (made []Made, files []*os.File, err error) {
	name := filepath.Join(j.Dir, j.Name)
	for _, name := range []string{name, name + blocksSuffix} {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return nil, files, err
		}
		files = append(files, f)
	}
	if j.Made == nil {
		return nil, files, nil
	}
	for _, m := range j.Made(j.Name + blocksSuffix) {
		image, err := os.Open(filepath.Join(m.Dir, j.Name))
		if err != nil {
			continue
		}
		index, err := os.Open(filepath.Join(m.Dir, j.Name+blocksSuffix))
		if err != nil {
			image.Close()
			continue
		}
		made, files = append(made, m), append(files, image, index)
	}
	return made, files, nil
}

// tell says what the image was made of.
func (j Job) tell(done squashed, made []Made) {
	for _, text := range done.Damaged {
		j.Log.Warn("a damaged image of the cache: its blocks are compressed again", "cause", text)
	}
	for _, i := range done.Used {
		made[i].Use()
	}
	if done.LostCount > 0 {
		j.tellLost(done.Lost, done.LostCount)
	}
	if done.NoIndex != "" {
		j.Log.Warn("the blocks of the image cannot be used for later ones", "file", j.Name, "cause", done.NoIndex)
	}
	log := j.Log.Debug
	if j.Explain {
		log = j.Log.Info
	}
	log(fmt.Sprintf("%s: of %d blocks %d were new, %s of %s", j.Name, done.Blocks, done.New,
		bytesize.Size(done.NewSize), bytesize.Size(done.Size)), "from", done.From)
}

// squashing is what the task is told.
type squashing struct {
	Compression Compression
	Program     squashfs.Program
	Name        string
	Epoch       *int64
	Made        []string // images made before, for messages
}

// squashed is what it found.
type squashed struct {
	squashfs.Result
	Used    []int // of the images made before
	Damaged []string
	NoIndex string // why there is none
}

// Squashing packs a root file system as a squashfs image. The files are the new image and its
// index, then both of each image made before.
var Squashing = sandbox.NewTask("squashfs", func(ctx context.Context, in *sandbox.Inside, s squashing) (done squashed, err error) {
	c, err := squashfs.NewCompressor(s.Compression.Method, s.Compression.Level, s.Program)
	if err != nil {
		return done, err
	}
	o := squashfs.Options{Compressor: c, Epoch: s.Epoch, Damaged: func(err error) { done.Damaged = append(done.Damaged, err.Error()) }}
	for i, dir := range s.Made {
		o.Known = append(o.Known, &squashfs.Made{Name: filepath.Join(dir, s.Name), Image: in.Files[2+2*i], Index: in.Files[3+2*i]})
	}
	result, err := squashfs.Write(ctx, in.Files[0], in.Roots[0], o)
	if err != nil {
		return done, err
	}
	done.Result = *result
	for i, m := range o.Known {
		if m.Used() {
			done.Used = append(done.Used, i)
		}
	}
	// The image is worth having without.
	if err := result.WriteIndex(in.Files[1]); err != nil {
		done.NoIndex = errors.Join(err, in.Files[1].Truncate(0)).Error()
	}
	return done, nil
})
