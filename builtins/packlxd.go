package builtins

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"

	"imagebuilder/builtins/pack"
	"imagebuilder/builtins/sandbox"
)

// root.template(path, content, name="", when=["create", "copy"], properties={},
// if_exists="") makes the file path of an instance a template that LXD renders
// with content, on the events when: "create", "copy", "start". The content is kept in
// the image under name, which is made from path if it is not given. properties is
// what the template finds as properties. Where the image has no file of the path
// if_exists, nothing happens. A later template for the same path takes its place.
func rootfsTemplate(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	t := pack.Template{When: []string{"create", "copy"}}
	var when stringList
	var properties stringMap
	var ifExists string
	if err := unpack(fn, args, kwargs, "path", &t.Path, "content", &t.Content, "name?", &t.Name, "when??", &when,
		"properties??", &properties, "if_exists?", &ifExists); err != nil {
		return nil, err
	}
	r := receiver(fn)
	if err := r.checkMutable("change"); err != nil {
		return nil, err
	}
	if len(when) > 0 {
		t.When = when
	}
	t.Properties = properties
	if t.Name == "" {
		t.Name = strings.ReplaceAll(strings.Trim(t.Path, "/"), "/", "-") + ".tpl"
	}
	if err := r.checkTemplate(t); err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	if ifExists != "" {
		answer, err := r.build.Worker.Look(Context(thread), r, sandbox.Look{Op: "exists", Path: ifExists})
		if err != nil || !answer.Found {
			return starlark.None, err
		}
	}
	r.templates = append(r.templates[:len(r.templates):len(r.templates)], t)
	r.build.Worker.Record(newStep(thread, fn, r, Arg{"template", t}))
	return starlark.None, nil
}

// checkTemplate refuses what LXD would refuse, and a name that another path's
// template has with another content: the later would silently win for both.
func (r *Rootfs) checkTemplate(t pack.Template) error {
	if strings.Trim(t.Path, "/") == "" {
		return errors.New("the path is empty")
	}
	if err := checkName(t.Name); err != nil {
		return err
	}
	for _, other := range r.templates {
		if other.Name == t.Name && other.Content != t.Content && other.Path != t.Path {
			return fmt.Errorf("%s is already the name of the template for %s", t.Name, other.Path)
		}
	}
	return nil
}

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

// pack_lxd(root, image, compression="xz", properties={}, dir="") packs a rootfs as an
// LXD container image: lxd.tar.xz, the metadata, and rootfs.squashfs, in the target
// directory of the run or in dir below it. compression is METHOD or METHOD-LEVEL; the
// methods are gzip, lzma, lzo, xz, zstd and none. properties are added to those of
// the image. It returns a struct with the files metadata and rootfs and the image's
// fingerprint. The rootfs is frozen.
//
// An image that has not changed is handed out as it was packed before, with the
// serial and the dates of then, unless the image says which serial it wants.
func (b *Build) packLXD(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *Rootfs
	var img *Image
	var dir string
	var properties stringMap
	how := compression{Method: "xz", Level: -1}
	if err := unpack(fn, args, kwargs, "root", &root, "image", &img, "compression?", &how, "properties?", &properties, "dir?", &dir); err != nil {
		return nil, err
	}
	c := pack.Compression(how)
	_, squashErr := c.Squashfs()
	if err := errors.Join(c.CheckTar(), squashErr, checkDir(dir)); err != nil {
		return nil, fmt.Errorf("%s: %w", fn.Name(), err)
	}
	root.freeze("it is packed")
	s := newStep(thread, fn, root, Arg{"image", img}, Arg{"compression", c.String()})
	if len(properties) > 0 {
		s.Args = append(s.Args, Arg{"properties", map[string]string(properties)})
	}
	s.Needs = []Need{{Name: "mksquashfs"}}
	if c.Program() != "" {
		s.Needs = append(s.Needs, Need{Name: c.Program()})
	}
	parts := []Part{b.lxdMetadata(root, img, properties, c), squashfsPart(c)}
	files, err := b.Worker.Pack(Context(thread), s, dir, parts)
	if err != nil {
		return nil, err
	}
	return packed(files[0], files[1])
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
		Args: []Arg{{"compression", c.String()}, {"epoch", os.Getenv("SOURCE_DATE_EPOCH")}},
		Make: func(ctx context.Context, job pack.Job) error { return job.Squashfs(ctx, c) },
	}
}

func (b *Build) lxdMetadata(root *Rootfs, img *Image, properties map[string]string, c pack.Compression) Part {
	return Part{
		File: "lxd.tar" + c.Suffix(),
		Args: []Arg{{"image", img}, {"properties", properties}, {"templates", root.templates}, {"compression", c.String()}},
		Make: func(ctx context.Context, job pack.Job) error {
			now := b.Clock()
			at := img.at(now)
			m := pack.Metadata{
				Architecture: img.Architecture,
				Created:      now,
				Expires:      now.Add(img.Expiry),
				Templates:    root.templates,
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
			for key, value := range properties {
				m.Properties[key] = value
			}
			return m.Write(ctx, job.Dir, job.Name, c)
		},
	}
}

// packed is what a recipe gets of a split image. LXD's fingerprint is the SHA-256 of
// both files, one after the other.
func packed(metadata, rootfs *File) (starlark.Value, error) {
	fingerprint := ""
	if metadata.path != "" {
		h := sha256.New()
		for _, f := range []*File{metadata, rootfs} {
			if err := copyFile(h, f.path); err != nil {
				return nil, err
			}
		}
		fingerprint = hex.EncodeToString(h.Sum(nil))
	}
	return starlarkstruct.FromStringDict(starlarkstruct.Default, starlark.StringDict{
		"metadata":    metadata,
		"rootfs":      rootfs,
		"fingerprint": starlark.String(fingerprint),
	}), nil
}

func copyFile(w io.Writer, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
