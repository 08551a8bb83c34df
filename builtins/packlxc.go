package builtins

import (
	"context"
	"errors"
	"fmt"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/pack"
)

// lxcConfig is an argument that is a list of pieces of LXC configuration: dicts with
// the keys type, content, before and after.
type lxcConfig []pack.LXCConfig

func (l *lxcConfig) Unpack(v starlark.Value) error {
	list, ok := v.(*starlark.List)
	if !ok {
		return fmt.Errorf("got %s, want a list of dicts", v.Type())
	}
	for i := range list.Len() {
		c, err := newLXCConfig(list.Index(i))
		if err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
		*l = append(*l, c)
	}
	return nil
}

func newLXCConfig(v starlark.Value) (pack.LXCConfig, error) {
	var c pack.LXCConfig
	dict, ok := v.(*starlark.Dict)
	if !ok {
		return c, fmt.Errorf("got %s, want a dict", v.Type())
	}
	var kwargs []starlark.Tuple
	for _, item := range dict.Items() {
		if _, ok := item[0].(starlark.String); !ok {
			return c, fmt.Errorf("the key %s is not a string", item[0])
		}
		kwargs = append(kwargs, item)
	}
	err := starlark.UnpackArgs("config", nil, kwargs, "type", &c.Type, "content", &c.Content, "before?", &c.Before, "after?", &c.After)
	if err == nil {
		err = c.Check()
	}
	return c, err
}

// pack_lxc(root, image, compression="xz", create_message="", config=[], dir="") packs a
// rootfs as an LXC image: meta.tar.xz and rootfs.tar.xz, in the target directory of the
// run or in dir below it. Only the second is compressed as compression says, by METHOD
// or METHOD-LEVEL: bzip2, gzip, lzip, lzma, lzo, xz, zstd or none. create_message is
// shown when a container was created. config is a list of pieces of configuration,
// {"type": "all" | "system" | "user", "content": TEXT, "before": N, "after": N}: for all
// containers, for privileged or for unprivileged ones, at the compat levels between
// after and before. It returns a struct with the files metadata and rootfs.
func (b *Build) packLXC(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *Rootfs
	var img *Image
	var message, dir string
	var config lxcConfig
	how := compression{Method: "xz", Level: -1}
	if err := unpackArgs(fn, args, kwargs, "root", &root, "image", &img, "compression?", &how, "create_message?", &message,
		"config?", &config, "dir?", &dir); err != nil {
		return nil, err
	}
	c := pack.Compression(how)
	if err := errors.Join(c.CheckTar(), checkDir(dir)); err != nil {
		return nil, fmt.Errorf("%s: %w", fn.Name(), err)
	}
	root.freeze("it is packed")
	s := b.newStep(thread, fn, root, Arg{"image", img}, Arg{"compression", c.String()}, Arg{"create_message", message}, Arg{"config", config})
	s.Needs = []Need{{Name: "tar"}, {Name: "xz"}}
	if c.Program() != "" {
		s.Needs = append(s.Needs, Need{Name: c.Program()})
	}
	meta := Part{
		File: "meta.tar.xz",
		Args: []Arg{{"image", img}, {"create_message", message}, {"config", config}, {"templates", root.placeholders},
			epoch(), validity(img, b.Clock())},
		Make: func(ctx context.Context, job pack.Job) error {
			now := b.Clock()
			return job.LXCMeta(ctx, pack.LXCMetadata{
				CreateMessage: message,
				Created:       now,
				Expires:       now.Add(img.Expiry.Duration),
				Config:        config,
				Templates:     root.placeholders,
			})
		},
	}
	files, err := b.Worker.Pack(Context(thread), s, dir, []Part{meta, tarPart(c)})
	if err != nil {
		return nil, err
	}
	return packedLXC(files), nil
}

func tarPart(c pack.Compression) Part {
	return Part{
		File: "rootfs.tar" + c.Suffix(),
		Args: []Arg{{"compression", c.String()}, epoch()},
		Make: func(ctx context.Context, job pack.Job) error { return job.Tar(ctx, c) },
	}
}

func packedLXC(files []*File) starlark.Value {
	return newStruct(starlark.StringDict{"metadata": files[0], "rootfs": files[1]})
}
