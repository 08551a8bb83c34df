package builtins

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"imagebuilder/builtins/lxd"
	"imagebuilder/builtins/pack"
)

// compression is an argument that says how a file is compressed.
type compression pack.Compression

func (c *compression) Unpack(v starlark.Value) error {
	text, ok := starlark.AsString(v)
	if !ok {
		return fmt.Errorf("got %s, want a string such as \"xz\" or \"zstd-19\"", v.Type())
	}
	parsed, err := pack.ParseCompression(text)
	*c = compression(parsed)
	return err
}

// pack_lxd(root, image, type="split", compression="xz", properties={}, dir="") packs a
// rootfs as an LXD container image in the target directory of the run, or in dir below
// it: as lxd.tar.xz, the metadata, and rootfs.squashfs, or, with type="unified", as one
// archive with the name of the image. compression is METHOD or METHOD-LEVEL; the methods
// are bzip2, gzip, lz4 (of squashfs; archives stay as they are), lzip, lzma, lzo, xz,
// zstd and none, without bzip2 and lzip in a split image. properties are added to those of the image. The rootfs is frozen.
//
// It returns a struct with the files metadata and rootfs, or the file unified, and the
// image's fingerprint. An image that has not changed is handed out as it was packed
// before, with the serial and the dates of then, until half of the time after which it
// expires has passed, or the image says another serial.
func (b *Build) packLXD(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	p := lxdPack{build: b, compression: compression{Method: "xz", Level: -1}, kind: "split"}
	if err := unpackArgs(fn, args, kwargs, "root", &p.root, "image", &p.image, "type?", &p.kind, "compression?", &p.compression,
		"properties?", &p.properties, "dir?", &p.dir); err != nil {
		return nil, err
	}
	parts, err := p.parts()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", fn.Name(), err)
	}
	p.root.freeze("it is packed")
	s := b.newStep(thread, fn, p.root, Arg{"image", p.image}, Arg{"type", p.kind}, Arg{"compression", pack.Compression(p.compression).String()})
	if len(p.properties) > 0 {
		s.Args = append(s.Args, Arg{"properties", map[string]string(p.properties)})
	}
	s.Needs = p.needs()
	files, err := b.Worker.Pack(Context(thread), s, p.dir, parts)
	if err != nil {
		return nil, err
	}
	return packed(files)
}

// lxdPack are the arguments of one pack_lxd.
type lxdPack struct {
	build       *Build
	root        *Rootfs
	image       *Image
	kind        string
	compression compression
	properties  stringMap
	dir         string
}

func (p *lxdPack) parts() ([]Part, error) {
	c := pack.Compression(p.compression)
	if err := errors.Join(c.CheckTar(), checkDir(p.dir)); err != nil {
		return nil, err
	}
	switch p.kind {
	case "split":
		_, err := c.Squashfs()
		return []Part{p.metadata(c), squashfsPart(c)}, err
	case "unified":
		at, err := p.image.at(p.image.now)
		if err == nil {
			err = checkName(at.Name)
		}
		return []Part{p.unified(at.Name+".tar"+c.Suffix(), c)}, err
	}
	return nil, Misuse{fmt.Errorf(`type is %q, want "split" or "unified"`, p.kind)}
}

func (p *lxdPack) needs() []Need {
	needs := []Need{{Name: "mksquashfs"}}
	if p.kind == "unified" {
		needs = []Need{{Name: "tar"}}
	}
	if program := pack.Compression(p.compression).Program(); program != "" {
		needs = append(needs, Need{Name: program})
	}
	return needs
}

func checkDir(dir string) error {
	if dir != "" && !filepath.IsLocal(dir) {
		return fmt.Errorf("dir is not below the target directory: %q", dir)
	}
	return nil
}

func squashfsPart(c pack.Compression) Part {
	return Part{
		File: "rootfs.squashfs",
		Args: []Arg{{"compression", c.String()}, epoch()},
		Make: func(ctx context.Context, job pack.Job) error { return job.Squashfs(ctx, c) },
	}
}

// epoch is what the times in a packed file depend on besides those in the tree.
func epoch() Arg { return Arg{"epoch", os.Getenv("SOURCE_DATE_EPOCH")} }

func (p *lxdPack) metadata(c pack.Compression) Part {
	return Part{
		File: "lxd.tar" + c.Suffix(),
		Args: p.args(c),
		Make: func(ctx context.Context, job pack.Job) error {
			m, err := p.describe()
			if err != nil {
				return err
			}
			return m.Write(ctx, job.Dir, job.Name, c)
		},
	}
}

func (p *lxdPack) unified(name string, c pack.Compression) Part {
	return Part{
		File: name,
		Args: p.args(c),
		Make: func(ctx context.Context, job pack.Job) error {
			m, err := p.describe()
			if err != nil {
				return err
			}
			return job.Unified(ctx, m, c)
		},
	}
}

// args are what the metadata depend on.
func (p *lxdPack) args(c pack.Compression) []Arg {
	return []Arg{{"image", p.image}, {"properties", p.properties}, {"templates", p.root.templates}, {"compression", c.String()},
		epoch(), validity(p.image, p.build.Clock())}
}

// validity makes metadata anew before it is older than half of the time after which it
// expires.
func validity(img *Image, now time.Time) Arg {
	half := max(int64(img.Expiry.Duration/time.Second)/2, 1)
	return Arg{"validity", now.Unix() / half}
}

func (p *lxdPack) describe() (pack.Metadata, error) {
	now := p.build.Clock()
	at, err := p.image.at(now)
	m := pack.Metadata{
		Architecture: at.Architecture,
		Created:      now,
		Expires:      now.Add(at.Expiry.Duration),
		Templates:    p.root.templates,
		Properties: map[string]string{
			"architecture": at.Mapped,
			"description":  at.Description,
			"name":         at.Name,
			"os":           at.Distribution,
			"release":      at.Release,
			"serial":       at.Serial,
			"variant":      at.Variant,
		},
	}
	for key, value := range p.properties {
		m.Properties[key] = value
	}
	return m, err
}

// packed is what a recipe gets of an LXD image.
func packed(files []*File) (starlark.Value, error) {
	fields := starlark.StringDict{"fingerprint": starlark.String("")}
	if len(files) == 1 {
		fields["unified"] = files[0]
	} else {
		fields["metadata"], fields["rootfs"] = files[0], files[1]
	}
	if files[0].path != "" { // not in a plan
		paths := make([]string, len(files))
		for i, f := range files {
			paths[i] = f.path
		}
		fingerprint, err := lxd.Fingerprint(paths)
		if err != nil {
			return nil, err
		}
		fields["fingerprint"] = starlark.String(fingerprint)
	}
	return newStruct(fields), nil
}

func newStruct(fields starlark.StringDict) starlark.Value {
	return starlarkstruct.FromStringDict(starlarkstruct.Default, fields)
}
