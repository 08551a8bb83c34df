package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"imagebuilder/builtins/disk"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/pack"
	"imagebuilder/builtins/sandbox"
)

// Root file systems that lie on a disk: what programs see of that while they change them, and
// the disk that is made in the end.

// Surroundings are what programs find on a disk that they would not find elsewhere.
type Surroundings struct {
	Programs    map[string]string // scripts by their names, which come before those of the image
	Environment map[string]string // variables, unless a step says them
}

// MakeDisk lays the root file system of a step on a disk from now on. That is no change of it:
// what the disk is like is seen by the programs of later steps.
func MakeDisk(s *Step, d disk.Disk, with Surroundings) Act {
	s.Root.Disk, s.Root.surroundings = &d, with
	s.Ready = d.Ready
	s.Needs = needs(d.Needs())
	return Act{}
}

func needs(programs []string) []Need {
	var list []Need
	for _, name := range programs {
		list = append(list, Need{Name: name})
	}
	return list
}

// programsDir is where the scripts of a disk are, in no image.
const programsDir = "/run/imagebuilder"

// onDisk adds what programs find on a disk to their surroundings.
func (r *Root) onDisk(s *Step, environ []string, guests []sandbox.Guest) ([]string, []sandbox.Guest) {
	if r.Disk == nil {
		return environ, guests
	}
	with := r.surroundings
	s.Also = append(s.Also, Arg{"disk", r.Disk.Seen()}, Arg{"programs", with.Programs}, Arg{"environment", with.Environment})
	guests = slices.Clone(guests)
	for _, name := range slices.Sorted(maps.Keys(with.Programs)) {
		guests = append(guests, sandbox.Guest{Path: path.Join(programsDir, name), Content: []byte(with.Programs[name]), Mode: 0o755, Over: true})
	}
	environ = slices.Clone(environ)
	for i, v := range environ {
		if dirs, ok := strings.CutPrefix(v, "PATH="); ok {
			environ[i] = "PATH=" + programsDir + ":" + dirs
		}
	}
	env := r.Disk.Environment()
	maps.Copy(env, with.Environment)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		said := func(v string) bool { return strings.HasPrefix(v, name+"=") }
		if !slices.ContainsFunc(environ, said) {
			environ = append(environ, name+"="+env[name])
		}
	}
	return environ, guests
}

// partitions are what programs see of a disk; nil: there is none.
func (b *Builder) partitions(ctx context.Context, d *disk.Disk, stack sandbox.Stack) ([]sandbox.Partition, error) {
	if d == nil {
		return nil, nil
	}
	if stack.Dir != "" && !b.saidUnseen {
		b.saidUnseen = true
		b.Log.Warn("without overlayfs programs do not see that / is on a disk: those that install a boot loader may refuse")
	}
	inputs, err := Args{{"disk", d.Seen()}}.inputs()
	if err != nil {
		return nil, err
	}
	inputs = b.dated(inputs)
	e, _, err := b.Store.Get(ctx, layer.Base{}, layer.Origin{Name: "disk", Inputs: inputs, Summary: "empty file systems"}, func(dir string) error {
		return d.StandIns(ctx, dir, b.Epoch)
	})
	if err != nil {
		return nil, err
	}
	return d.Partitions(e.Data()), nil
}

// Formats of the files that hold a disk.
const (
	QCow2 = "qcow2"
	Raw   = "raw"
)

// A DiskFormat is how a disk is kept in a file.
type DiskFormat struct {
	Format      string `json:"format"`      // QCow2 or Raw
	Compression string `json:"compression"` // in a QCow2: zlib, zstd or none; of a Raw one: METHOD or METHOD-LEVEL; "": zlib, or none
}

// Check finds what is wrong with a format.
func (f DiskFormat) Check() error {
	switch f.Format {
	case QCow2:
		if !slices.Contains(disk.Compressions, f.compression()) {
			return fmt.Errorf("unknown compression %q of a qcow2 disk; known are %s", f.Compression, strings.Join(disk.Compressions, ", "))
		}
		return nil
	case Raw:
		c, err := pack.ParseCompression(f.compression())
		if err == nil {
			err = c.CheckTar() // of which a file is no other than the other
		}
		return err
	}
	return fmt.Errorf("unknown format %q of a disk; known are %s, %s", f.Format, QCow2, Raw)
}

func (f DiskFormat) compression() string {
	if f.Format == Raw {
		return cmp.Or(f.Compression, "none")
	}
	return cmp.Or(f.Compression, disk.Compressions[0])
}

// whole is how the file is compressed as a whole.
func (f DiskFormat) whole() pack.Compression {
	if f.Format != Raw {
		return pack.Compression{Method: "none", Level: -1}
	}
	c, _ := pack.ParseCompression(f.compression()) // which was checked
	return c
}

// fileName is what an image for LXD calls the file.
func (f DiskFormat) fileName() string {
	if f.Format == QCow2 {
		return "disk.qcow2"
	}
	return "disk.img" + f.whole().Suffix()
}

func (f DiskFormat) needs() []Need {
	if f.Format == QCow2 {
		return needs([]string{"qemu-img"})
	}
	if program := f.whole().Program(); program != "" {
		return needs([]string{program})
	}
	return nil
}

// part is the disk as a file of an image.
func (f DiskFormat) part(d *disk.Disk, name string) part {
	return part{
		what: "disk",
		file: name,
		args: f.args(d),
		make: func(ctx context.Context, job pack.Job) error { return f.write(ctx, d, job, name) },
	}
}

func (f DiskFormat) args(d *disk.Disk) Args { return Args{{"disk", d}, {"format", f}} }

// write makes the file in the directory of a job.
func (f DiskFormat) write(ctx context.Context, d *disk.Disk, job pack.Job, name string) error {
	j := disk.Job{Disk: *d, Stack: job.Stack, Dir: job.Dir, Out: job.Out, Log: job.Log, Epoch: job.Epoch}
	raw := name
	if f.Format != Raw || f.whole().Program() != "" {
		raw = name + ".raw"
	}
	if err := j.Raw(ctx, raw); err != nil {
		return err
	}
	switch {
	case f.Format == QCow2:
		return j.QCow2(ctx, raw, name, f.compression())
	case raw != name:
		return f.whole().CompressFile(ctx, job.Dir, raw, name, job.Epoch)
	}
	return nil
}

// ExportDisk is the product of the disk of a root file system alone, a file below the target
// directory. It gives the step its needs.
func ExportDisk(s *Step, image *Image, name string, f DiskFormat) (Product, error) {
	if s.Root.Disk == nil {
		return Product{}, errors.New("the rootfs is on no disk; make one by disk")
	}
	if err := f.Check(); err != nil {
		return Product{}, err
	}
	s.Needs = append(s.Needs, f.needs()...)
	return packed(s, image, path.Dir(name), []part{f.part(s.Root.Disk, path.Base(name))}), nil
}
