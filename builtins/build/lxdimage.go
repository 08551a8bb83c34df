package build

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"imagebuilder/builtins/disk"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/lxd"
	"imagebuilder/builtins/pack"
)

// An LXDImage is what a root file system is packed as for LXD or Incus.
type LXDImage struct {
	Server      lxd.Server // that it is for
	Image       *Image
	Unified     bool       // one archive instead of metadata and root file system
	Disk        *disk.Disk // that the root file system lies on; nil: it is for a container
	DiskFormat  DiskFormat
	Compression pack.Compression
	Packer      string            // of squashfs: one of those of package pack
	Properties  map[string]string // added to those of the image
	Templates   []pack.Template
	Now         time.Time // of packing
}

// Pack is the product of the image in a directory below the target directory. It gives the
// step its needs.
func (i LXDImage) Pack(s *Step, dir string) (Product, error) {
	parts, err := i.parts()
	if err != nil {
		return Product{}, err
	}
	if i.Disk != nil {
		s.Needs = append(s.Needs, i.DiskFormat.needs()...)
	} else if !i.Unified {
		if program := i.Compression.SquashfsProgram(i.Packer); program != "" {
			s.Needs = append(s.Needs, Need{Name: program})
		}
	}
	if i.Unified {
		s.Needs = append(s.Needs, Need{Name: "tar"})
	}
	if program := i.Compression.Program(); program != "" {
		s.Needs = append(s.Needs, Need{Name: program})
	}
	p := packed(s, i.Image, dir, parts)
	packing := p.Do
	p.Do = func(ctx context.Context, b *Builder) ([]*File, error) {
		files, err := packing(ctx, b)
		if err == nil {
			err = b.fingerprint(ctx, files)
		}
		return files, err
	}
	return p, nil
}

// fingerprint gives the last file of an image what servers call the image by: the digest of
// all files as one. It is kept, as that of a split image takes reading it once more.
func (b *Builder) fingerprint(ctx context.Context, files []*File) error {
	last := files[len(files)-1]
	if len(files) == 1 {
		last.Fingerprint = last.SHA256
		return nil
	}
	st := layer.Origin{Name: fingerprintName, Intact: stillDescribed, Summary: last.Name}
	for _, f := range files {
		st.Inputs = append(st.Inputs, layer.Input{Name: "sha256", Value: f.SHA256})
	}
	kept, err := b.keepMade(ctx, fingerprintName, st, func() ([]byte, error) {
		text, err := lxd.Fingerprint(Paths(files))
		return []byte(text), err
	})
	if err != nil {
		return err
	}
	text, err := kept.Read()
	last.Fingerprint = string(text)
	return err
}

const fingerprintName = "fingerprint"

func (i LXDImage) parts() ([]part, error) {
	if err := i.Compression.CheckTar(); err != nil {
		return nil, err
	}
	if i.Disk != nil {
		if err := i.DiskFormat.Check(); err != nil {
			return nil, err
		}
		if i.Unified && i.DiskFormat.Format != QCow2 {
			return nil, errors.New("a unified image holds its disk as qcow2")
		}
	}
	switch {
	case !i.Unified && i.Disk != nil:
		return []part{i.metadata(), i.DiskFormat.part(i.Disk, i.DiskFormat.fileName())}, nil
	case !i.Unified:
		_, err := i.Compression.Squashfs()
		return []part{i.metadata(), squashfsPart(i.Compression, i.Packer)}, err
	}
	now, err := i.Image.At(i.Now)
	if err == nil {
		err = CheckFileName(now.Name)
	}
	return []part{i.unified(now.Name + ".tar" + i.Compression.Suffix())}, err
}

func (i LXDImage) metadata() part {
	return part{
		what:   "metadata",
		file:   i.Server.Word() + ".tar" + i.Compression.Suffix(),
		args:   i.args(),
		maxAge: i.Image.Expiry.maxAge(),
		make: func(ctx context.Context, job pack.Job) error {
			m, err := i.describe()
			if err != nil {
				return err
			}
			return m.Write(ctx, job.Dir, job.Name, i.Compression, job.Epoch)
		},
	}
}

func (i LXDImage) unified(name string) part {
	args := i.args()
	if i.Disk != nil {
		args = append(args, i.DiskFormat.args(i.Disk)...)
	}
	return part{
		what:   "unified",
		file:   name,
		args:   args,
		maxAge: i.Image.Expiry.maxAge(),
		make: func(ctx context.Context, job pack.Job) error {
			m, err := i.describe()
			if err != nil {
				return err
			}
			if i.Disk == nil {
				return job.Unified(ctx, m, i.Compression)
			}
			const file = "disk"
			if err := i.DiskFormat.write(ctx, i.Disk, job, file); err != nil {
				return err
			}
			return job.UnifiedDisk(ctx, m, i.Compression, file)
		},
	}
}

// args are what the metadata depend on.
func (i LXDImage) args() Args {
	return Args{{"image", i.Image}, {"properties", i.Properties}, {"templates", i.Templates}, {"compression", i.Compression.String()}}
}

func (i LXDImage) describe() (pack.Metadata, error) {
	now, err := i.Image.At(i.Now)
	m := pack.Metadata{
		Architecture: now.Architecture,
		Created:      i.Now,
		Expires:      i.Now.Add(now.Expiry.Duration),
		Templates:    i.Templates,
		Properties: map[string]string{
			"architecture": now.Mapped,
			"description":  now.Description,
			"name":         now.Name,
			"os":           now.Distribution,
			"release":      now.Release,
			"serial":       now.Serial,
			"variant":      now.Variant,
		},
	}
	maps.Copy(m.Properties, i.Properties)
	return m, err
}

// Import hands the files of an image to the daemon of a server on this machine and gives it
// an alias, unless that is empty.
func Import(s *Step, server lxd.Server, files []*File, fingerprint, alias, description string) Act {
	s.Ready = func(ctx context.Context) error {
		_, err := lxd.Connect(ctx, server, os.Getenv)
		return err
	}
	return Act{Do: func(ctx context.Context, _ *Builder) error {
		daemon, err := lxd.Connect(ctx, server, os.Getenv)
		if err != nil {
			return err
		}
		return daemon.Import(ctx, lxd.Upload{Fingerprint: fingerprint, Files: Paths(files)}, alias, description)
	}}
}

// CheckFileName finds what is wrong with a name that a file is to have.
func CheckFileName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("not a file name: %q", name)
	}
	if len(name) > 240 { // of 255, as a suffix may come, or a temporary name
		return fmt.Errorf("too long for a file name: %.40s… (%d bytes)", name, len(name))
	}
	return nil
}
