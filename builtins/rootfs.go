package builtins

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/pack"
)

// A Rootfs is a mutable handle on a root file system. It prints without any path of
// the host, and is frozen when it is packed.
type Rootfs struct {
	build   *Build
	name    string
	image   starlark.Value
	target  string
	manager starlark.Value
	env     *starlark.Dict
	memo    *starlark.Dict
	source  string      // directory of the host that it began as, if it did
	tree    *layer.Tree // nil in a plan
	frozen  string      // why it cannot be changed; empty: it can
	filled  bool        // something was done to it; only a plan knows

	templates    []pack.Template // for LXD
	placeholders []string        // for LXC
}

var (
	_ starlark.HasAttrs    = (*Rootfs)(nil)
	_ starlark.HasSetField = (*Rootfs)(nil)
)

func (r *Rootfs) String() string        { return "<rootfs " + r.name + ">" }
func (r *Rootfs) Type() string          { return "rootfs" }
func (r *Rootfs) Truth() starlark.Bool  { return true }
func (r *Rootfs) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: %s", r.Type()) }
func (r *Rootfs) Freeze()               { r.freeze("it is frozen") }

func (r *Rootfs) freeze(why string) {
	if r.frozen == "" {
		r.frozen = why
	}
	r.env.Freeze()
	r.memo.Freeze()
}

func (r *Rootfs) checkMutable(verb string) error {
	if r.frozen != "" {
		return fmt.Errorf("cannot %s the rootfs: %s; fork it first", verb, r.frozen)
	}
	return nil
}

func (r *Rootfs) Attr(name string) (starlark.Value, error) {
	switch name {
	case "env":
		return r.env, nil
	case "image":
		return r.image, nil
	case "manager":
		return r.manager, nil
	case "memo":
		return r.memo, nil
	case "source":
		return starlark.String(r.source), nil
	case "target":
		return starlark.String(r.target), nil
	}
	method, ok := rootfsMethods[name]
	if !ok {
		return nil, nil
	}
	return method.BindReceiver(r), nil
}

func (r *Rootfs) AttrNames() []string {
	names := []string{"env", "image", "manager", "memo", "source", "target"}
	for name := range rootfsMethods {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// SetField lets a source say how packages are managed in what it made.
func (r *Rootfs) SetField(name string, v starlark.Value) error {
	switch {
	case name == "env" || name == "memo":
		return fmt.Errorf("cannot set .%s of a rootfs: it is always the same dict; change its items", name)
	case slices.Contains(r.AttrNames(), name) && name != "manager":
		return fmt.Errorf("cannot set .%s of a rootfs: only its manager can be set", name)
	case name != "manager":
		return starlark.NoSuchAttrError(fmt.Sprintf("cannot set .%s of a rootfs", name))
	}
	if err := r.checkMutable("set the manager of"); err != nil {
		return err
	}
	r.manager = v
	return nil
}

// defaultEnviron is the environment of programs inside a rootfs, sorted, unless the
// recipe changes root.env.
var defaultEnviron = []string{
	"DEBIAN_FRONTEND=noninteractive",
	"PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin",
	"SHELL=/bin/sh",
	"TERM=xterm",
}

// rootfs(image, manager=None, target="", source="") returns a root file system, empty or
// with the content of source, a directory of this machine, which is not changed.
// Attributes: image, manager (may be set), target, source; env, a dict with the environment of
// programs inside; memo, a dict in which libraries keep what they have done to it.
func (b *Build) rootfs(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	r := &Rootfs{build: b, manager: starlark.None, env: new(starlark.Dict), memo: new(starlark.Dict)}
	var img *Image
	if err := unpackArgs(fn, args, kwargs, "image", &img, "manager?", &r.manager, "target?", &r.target, "source?", &r.source); err != nil {
		return nil, err
	}
	if !knownTarget(r.target) {
		return nil, errTarget(starlark.String(r.target))
	}
	for _, kv := range defaultEnviron {
		key, value, _ := strings.Cut(kv, "=")
		r.env.SetKey(starlark.String(key), starlark.String(value))
	}
	r.image, r.name = img, img.Distribution
	if r.source == "" {
		r.tree = b.Worker.NewTree()
		return r, nil
	}
	dir, err := b.Locate(callerFile(thread), r.source)
	if err != nil {
		return nil, err
	}
	s := r.build.newStep(thread, fn, r, Arg{"source", r.source})
	r.tree, err = b.Worker.TreeOf(Context(thread), s, dir)
	return r, err
}

// fork(root, target="") returns a second rootfs with the same content, for the image
// kind target: "lxd", "lxc", "vm", or "" for a plain tree. Changes of one are not
// seen in the other. It costs nothing: content is shared until it is changed.
func (b *Build) fork(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *Rootfs
	var target starlark.Value = starlark.None
	if err := unpackArgs(fn, args, kwargs, "root", &root, "target?", &target); err != nil {
		return nil, err
	}
	fork := *root
	fork.frozen = ""
	if target != starlark.None {
		text, ok := starlark.AsString(target)
		if !ok || !knownTarget(text) {
			return nil, errTarget(target)
		}
		fork.target = text
	}
	copies := make(map[starlark.Value]starlark.Value)
	fork.env, fork.memo = copyDeep(root.env, copies).(*starlark.Dict), copyDeep(root.memo, copies).(*starlark.Dict)
	if root.tree != nil {
		fork.tree = root.tree.Fork()
	}
	return &fork, nil
}

// export(root, dir="", replace=False) copies the whole content of the rootfs into a
// directory below the target directory of the run, or into that itself. What is there
// is kept, except where the rootfs has a file of the same name; with replace, a root
// file system that is there is replaced, and anything else is an error.
func (b *Build) export(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *Rootfs
	var dir string
	var replace bool
	if err := unpackArgs(fn, args, kwargs, "root", &root, "dir?", &dir, "replace?", &replace); err != nil {
		return nil, err
	}
	if err := checkDir(dir); err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	s := b.newStep(thread, fn, root, Arg{"path", dir}, Arg{"replace", replace})
	return starlark.None, b.Worker.Export(Context(thread), s, dir, replace)
}

func errTarget(target starlark.Value) error {
	return fmt.Errorf(`target is %s, want "lxd", "lxc", "vm" or ""`, target)
}

func knownTarget(target string) bool {
	return target == "" || target == "lxd" || target == "lxc" || target == "vm"
}

// environ returns the environment of programs inside, with further variables.
func (r *Rootfs) environ(extra map[string]string) ([]string, error) {
	vars := make(map[string]string)
	for _, item := range r.env.Items() {
		key, ok1 := starlark.AsString(item[0])
		value, ok2 := starlark.AsString(item[1])
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("env: %s: %s is not a string: a string", item[0], item[1])
		}
		vars[key] = value
	}
	for key, value := range extra {
		vars[key] = value
	}
	list := make([]string, 0, len(vars))
	for key, value := range vars {
		if key == "" || strings.Contains(key, "=") || checkText(key+value) != nil {
			return nil, fmt.Errorf("env: %q: %q is not a variable and its value", key, value)
		}
		list = append(list, key+"="+value)
	}
	sort.Strings(list)
	return list, nil
}
