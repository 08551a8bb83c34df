package pack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/dirfd"
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

// SquashfsProgram is the program of the host that a packer needs for this, or nothing.
func (c Compression) SquashfsProgram(packer string) string {
	if c.packerOf(packer) == Mksquashfs {
		return "mksquashfs"
	}
	return squashfs.ProgramOf(c.Method, c.Level)
}

// RootSquashfs is the file of a root file system as squashfs.
const RootSquashfs = "rootfs.squashfs"

// BlocksOf is the file with the index of an image, which is beside it in the store.
func BlocksOf(name string) string { return name + ".blocks" }

// sumsOf is the file with what was read for an image, beside it as well.
func sumsOf(name string) string { return name + ".sums" }

// maxSums is how many images made before are asked for that.
const maxSums = 4

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
	s := squashing{Compression: c, Name: j.Name, Epoch: j.Epoch}
	if name := squashfs.ProgramOf(c.Method, c.Level); name != "" {
		if s.Program.Path, err = host.Find(name); err != nil {
			return err
		}
		s.Program.Env = host.Environ(nil)
	}
	p, err := j.open()
	defer p.close()
	if err != nil {
		return err
	}
	for _, m := range p.made {
		s.Made = append(s.Made, m.Dir)
	}
	s.Sums = p.sums
	var done squashed
	err = j.show(func(told *os.File) (err error) {
		if s.Told = told != nil; s.Told {
			p.files = append(p.files, told)
		}
		done, err = Squashing.Run(ctx, []sandbox.Stack{j.Stack}, s, p.files...)
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot make %s: %w", j.Name, err)
	}
	j.tell(done, p.made)
	return nil
}

// A packing is the files that the task is given, and who made those of before.
type packing struct {
	files []*os.File
	made  []Made
	sums  int // how many of the last files are sums
}

func (p *packing) close() {
	for _, f := range p.files {
		f.Close()
	}
}

// open makes the files of an image, and opens those of images made before: image and index
// in turn, and then what was read for the latest.
func (j Job) open() (p packing, err error) {
	name := filepath.Join(j.Dir, j.Name)
	for _, name := range []string{name, BlocksOf(name), sumsOf(name)} {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return p, err
		}
		p.files = append(p.files, f)
	}
	if j.Made == nil {
		return p, nil
	}
	var sums []*os.File
	for _, m := range j.Made(BlocksOf(j.Name)) {
		image, err := os.Open(filepath.Join(m.Dir, j.Name))
		if err != nil {
			continue
		}
		index, err := os.Open(filepath.Join(m.Dir, BlocksOf(j.Name)))
		if err != nil {
			image.Close()
			continue
		}
		p.made, p.files = append(p.made, m), append(p.files, image, index)
		if len(sums) == maxSums {
			continue
		}
		if f, err := os.Open(filepath.Join(m.Dir, sumsOf(j.Name))); err == nil {
			sums = append(sums, f)
		}
	}
	p.files, p.sums = append(p.files, sums...), len(sums)
	return p, nil
}

// show shows how far packing is, as it tells by a pipe, nil if it is not to be shown.
func (j Job) show(pack func(told *os.File) error) error {
	if j.Progress == nil {
		return pack(nil)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		j.showTold(r)
	}()
	err = errors.Join(pack(w), ignoreClosed(w.Close()))
	<-shown
	return errors.Join(err, r.Close())
}

// ignoreClosed: whoever has packed closes the pipe with the other files.
func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// showTold shows what is told, a number on each line: first how much there is to compress,
// then each time how much more of it is.
func (j Job) showTold(r io.Reader) {
	lines := bufio.NewScanner(r)
	var bar io.WriteCloser
	blank := make([]byte, squashfs.DefaultBlock)
	for lines.Scan() {
		n, err := strconv.ParseInt(lines.Text(), 10, 64)
		switch {
		case err != nil:
		case bar == nil:
			bar = j.Progress(j.Name, n)
			defer bar.Close()
		default:
			bar.Write(blank[:min(n, int64(len(blank)))])
		}
	}
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
	text := fmt.Sprintf("%s: %d of %d blocks were new, %s of %s", j.Name, done.New, done.Blocks, bytesize.Size(done.NewSize), bytesize.Size(done.Size))
	j.explain(text + withFiles(done.From))
}

// withFiles says which files new blocks came from.
func withFiles(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return ", with the latest files " + strings.Join(names, ", ")
}

// explain says what had to be compressed, to those who have asked.
func (j Job) explain(text string) {
	log := j.Log.Debug
	if j.Explain {
		log = j.Log.Info
	}
	log(text)
}

// squashing is what the task is told.
type squashing struct {
	Compression Compression
	Program     host.Program
	Name        string
	Epoch       host.Epoch
	Made        []string // images made before, for messages
	Sums        int      // how many of them have sums
	Told        bool     // the last file is told how far it is
}

// squashed is what it found.
type squashed struct {
	squashfs.Result
	Used    []int // of the images made before
	Damaged []string
	NoIndex string // why there is none
}

// Squashing packs a root file system as a squashfs image. The files are the new image, its
// index and its sums, then image and index of each made before, and the sums of some.
var Squashing = sandbox.NewTask("squashfs", func(ctx context.Context, in *sandbox.Inside, s squashing) (done squashed, err error) {
	debug.SetGCPercent(squashfs.GCPercent)
	c, err := squashfs.NewCompressor(s.Compression.Method, s.Compression.Level, s.Program)
	if err != nil {
		return done, err
	}
	o := squashfs.Options{Compressor: c, Damaged: func(err error) { done.Damaged = append(done.Damaged, err.Error()) }}
	if s.Epoch != "" {
		seconds := s.Epoch.Seconds()
		o.Epoch = &seconds
	}
	image, index, sums, others := in.Files[0], in.Files[1], in.Files[2], in.Files[3:]
	for i, dir := range s.Made {
		o.Known = append(o.Known, &squashfs.Made{Name: filepath.Join(dir, s.Name), Image: others[2*i], Index: others[2*i+1]})
	}
	for _, f := range others[2*len(s.Made):][:s.Sums] {
		o.Sums = append(o.Sums, f)
	}
	if s.Told {
		o.Progress = tellTo(others[len(others)-1])
	}
	result, err := writeSquashfs(ctx, image, in.Roots[0], o)
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
	if err := errors.Join(result.WriteIndex(index), result.WriteSums(sums)); err != nil {
		done.NoIndex = errors.Join(err, index.Truncate(0), sums.Truncate(0)).Error()
	}
	return done, nil
})

// writeSquashfs writes an image. The disk may have lost what was read for an image before: what
// is there now counts.
func writeSquashfs(ctx context.Context, image *os.File, root *dirfd.Dir, o squashfs.Options) (*squashfs.Result, error) {
	result, err := squashfs.Write(ctx, image, root, o)
	if !errors.Is(err, squashfs.ErrChanged) || len(o.Sums) == 0 {
		return result, err
	}
	o.Sums = nil
	if err := image.Truncate(0); err != nil {
		return nil, err
	}
	return squashfs.Write(ctx, image, root, o)
}

// tellTo writes what showTold reads.
func tellTo(w io.Writer) func(squashfs.Progress) {
	var begun bool
	var done int64
	return func(p squashfs.Progress) {
		if p.Compressed == 0 {
			return
		}
		if !begun {
			begun = true
			fmt.Fprintln(w, p.ToCompress)
		}
		fmt.Fprintln(w, p.Compressed-done)
		done = p.Compressed
	}
}
