package builtins

import (
	"errors"
	"fmt"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/options"
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
	return c, err
}

// pack_lxc(root, image, compression="xz", create_message="", config=[], dir="") packs a
// rootfs as an LXC image: meta.tar.xz and rootfs.tar.xz, in the target directory of the
// run or in dir below it. Only the second is compressed as compression says, by METHOD
// or METHOD-LEVEL: bzip2, gzip, lzip, lzma, lzo, xz, zstd or none. create_message is
// shown when a container was created. config is a list of pieces of configuration,
// {"type": "all" | "system" | "user", "content": TEXT, "before": N, "after": N}: for all
// containers, for privileged or for unprivileged ones, at the compat levels between
// after and before; without any, what LXC cannot do without. It returns a struct with
// the files metadata and rootfs.
//
// Example:
//
//	pack_lxc(fork(root, target = "lxc"), img, compression = "zstd-19")
func (b *Words) packLXC(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *rootfs
	var img *image
	var message, dir string
	var config lxcConfig
	o := build.ForLXC(options.InRecipe)
	pairs := argumentsOf([]any{"root", &root, "image", &img}, o, "create_message?", &message, "config?", &config, "dir?", &dir)
	if err := unpackArgs(fn, args, kwargs, pairs...); err != nil {
		return nil, err
	}
	if err := checkOptions(fn, o, args, kwargs, namedArgs(kwargs)); err != nil {
		return nil, err
	}
	for i, c := range config {
		if err := c.Check(); err != nil {
			return nil, Misuse{fmt.Errorf("%s: element %d of config: %w", fn.Name(), i, err)}
		}
	}
	if len(config) == 0 {
		config = pack.DefaultLXCConfig(img.Kernel)
	}
	if !o.Compression.ReadByLXC() {
		b.Log.Warn("the templates local and download of LXC read only xz, not " + o.Compression.String())
	}
	if !pack.TakenByLXC(config) {
		b.Log.Warn("the templates of LXC refuse the image: no piece of its config is for privileged containers of today; give one of the type all or system without before")
	}
	s := b.newStep(thread, fn, root, arg("image", img.Image), arg("compression", o.Compression.String()),
		arg("create_message", message), arg("config", config))
	product, err := build.LXCImage{
		Image: img.Image, Compression: o.Compression, CreateMessage: message, Config: config, Placeholders: root.placeholders, Now: b.Now,
	}.Pack(s, dir)
	if err = errors.Join(err, checkDir(dir)); err != nil {
		return nil, fmt.Errorf("%s: %w", fn.Name(), err)
	}
	root.freeze("it is packed")
	files, err := b.Worker.Make(Context(thread), s, product)
	if err != nil {
		return nil, err
	}
	return newStruct(starlark.StringDict{"metadata": &file{files[0]}, "rootfs": &file{files[1]}}), nil
}
