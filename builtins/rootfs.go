package builtins

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/pack"
	"imagebuilder/builtins/sandbox"
)

// The value that recipes work on most: a handle on a root file system, the words that make
// one, and what its package manager brings along.

// A rootfs is a mutable handle on a root file system. It prints without any path of
// the host, and is frozen when it is packed.
type rootfs struct {
	words   *Words
	root    *build.Root
	image   starlark.Value
	manager starlark.Value
	env     *starlark.Dict
	memo    *starlark.Dict
	source  string // as the recipe has it
	frozen  string // why it cannot be changed; empty: it can

	templates    []pack.Template // for LXD
	placeholders []string        // for LXC
}

var (
	_ starlark.HasAttrs    = (*rootfs)(nil)
	_ starlark.HasSetField = (*rootfs)(nil)
)

func (r *rootfs) String() string        { return "<rootfs " + r.root.Name + ">" }
func (r *rootfs) Type() string          { return "rootfs" }
func (r *rootfs) Truth() starlark.Bool  { return true }
func (r *rootfs) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: %s", r.Type()) }
func (r *rootfs) Freeze()               { r.freeze("it is frozen") }

func (r *rootfs) freeze(why string) {
	if r.frozen == "" {
		r.frozen = why
	}
	r.env.Freeze()
	r.memo.Freeze()
}

func (r *rootfs) checkMutable(verb string) error {
	if r.frozen != "" {
		return fmt.Errorf("cannot %s the rootfs: %s; fork it first", verb, r.frozen)
	}
	return nil
}

// checkSettled refuses to make something else of a rootfs while it is in a session.
func (r *rootfs) checkSettled(verb string) error {
	if r.root.InSession() {
		return fmt.Errorf("cannot %s the rootfs: it is in a session; do it after that", verb)
	}
	return nil
}

func (r *rootfs) Attr(name string) (starlark.Value, error) {
	switch name {
	case "disk":
		return r.diskValue(), nil
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
		return starlark.String(r.root.Target), nil
	}
	method, ok := rootfsMethods[name]
	if !ok {
		return nil, nil
	}
	return method.BindReceiver(r), nil
}

func (r *rootfs) AttrNames() []string {
	names := []string{"disk", "env", "image", "manager", "memo", "source", "target"}
	for name := range rootfsMethods {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// SetField lets a source say how packages are managed in what it made.
func (r *rootfs) SetField(name string, v starlark.Value) error {
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
	return r.manageBy(v)
}

// manageBy gives the rootfs a package manager: its programs find the variables of the
// manager, unless there is one of the name already.
func (r *rootfs) manageBy(manager starlark.Value) error {
	if manager != starlark.None && !hasField(manager, "install") {
		return Misuse{fmt.Errorf("a %s is no package manager, want one such as apt of @stdlib//managers/apt.star", manager.Type())}
	}
	r.manager = manager
	var env stringMap
	if err := managerField(manager, "env", &env); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(env)) {
		if _, ok, _ := r.env.Get(starlark.String(key)); !ok {
			r.env.SetKey(starlark.String(key), starlark.String(env[key]))
		}
	}
	return nil
}

func hasField(v starlark.Value, name string) bool {
	fields, ok := v.(starlark.HasAttrs)
	return ok && slices.Contains(fields.AttrNames(), name)
}

// managerField reads a field of a package manager, which need not have it.
func managerField(manager starlark.Value, name string, into starlark.Unpacker) error {
	fields, ok := manager.(starlark.HasAttrs)
	if !ok {
		return nil
	}
	v, _ := fields.Attr(name) // whatever the error: there is no such field
	if v == nil || v == starlark.None {
		return nil
	}
	if err := into.Unpack(v); err != nil {
		return fmt.Errorf("%s of the package manager: %w", name, err)
	}
	return nil
}

// guestMap is a dict of files, by their paths in an image: (content, mode).
type guestMap []sandbox.Guest

func (m *guestMap) Unpack(v starlark.Value) error {
	dict, ok := v.(*starlark.Dict)
	if !ok {
		return fmt.Errorf("got %s, want a dict of (content, mode)", v.Type())
	}
	for _, item := range dict.Items() {
		var path filePath
		var content string
		var mode fileMode
		pair, ok := item[1].(starlark.Tuple)
		if !ok || len(pair) != 2 {
			return fmt.Errorf("%s: got %s, want (content, mode)", item[0], item[1].Type())
		}
		err := errors.Join(path.Unpack(item[0]), mode.Unpack(pair[1]))
		if content, ok = starlark.AsString(pair[0]); err == nil && (!ok || mode.bits == nil) {
			err = fmt.Errorf("got %s, want (content, mode)", pair)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", item[0], err)
		}
		*m = append(*m, sandbox.Guest{Path: string(path), Content: []byte(content), Mode: *mode.bits})
	}
	return nil
}

// guests are the files that are in the image while its programs run.
func (r *rootfs) guests() ([]sandbox.Guest, error) {
	var guests guestMap
	err := managerField(r.manager, "guests", &guests)
	return guests, err
}

// defaultEnviron is the environment of programs inside a rootfs, sorted, unless its package
// manager or the recipe changes root.env.
var defaultEnviron = []string{
	"HOME=/root",
	"LOGNAME=root",
	"PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin",
	"SHELL=/bin/sh",
	"TERM=xterm",
	"USER=root",
}

// rootfs(image, manager=None, target="", source="") returns a root file system, empty or
// with the content of source, a directory of this machine, which is not changed.
// Attributes: image, manager (may be set), target, source; env, a dict with the environment of
// programs inside; memo, a dict in which libraries keep what they have done to it. A manager
// may have the fields env, a dict of variables that are added to that environment, and
// guests, a dict of (content, mode) by path: files that are in the image while programs run
// there, if their directory is and they are not.
//
// Example:
//
//	load("@stdlib//managers/apt.star", "apt")
//
//	root = rootfs(img, manager = apt)  # empty
//	root = rootfs(img, source = "overlay")  # with what is in that directory
func (b *Words) rootfs(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var source string
	var img *image
	var manager starlark.Value = starlark.None
	var target string
	if err := unpackArgs(fn, args, kwargs, "image", &img, "manager?", &manager, "target?", &target, "source?", &source); err != nil {
		return nil, err
	}
	if !knownTarget(target) {
		return nil, errTarget(starlark.String(target))
	}
	r := b.newRootfs(img)
	r.source = source
	if err := r.manageBy(manager); err != nil {
		return nil, err
	}
	r.root = build.NewRoot(img.Distribution, target, "", "")
	if r.source == "" {
		return r, nil
	}
	return r, r.begin(thread, fn)
}

// newRootfs returns what is to be the handle on a root file system.
func (b *Words) newRootfs(img *image) *rootfs {
	r := &rootfs{words: b, env: new(starlark.Dict), memo: new(starlark.Dict), image: img, manager: starlark.None}
	for _, kv := range defaultEnviron {
		key, value, _ := strings.Cut(kv, "=")
		r.env.SetKey(starlark.String(key), starlark.String(value))
	}
	return r
}

// begin begins with the content of a directory of this machine.
func (r *rootfs) begin(thread *starlark.Thread, fn *starlark.Builtin) error {
	dir, err := r.words.Locate(callerFile(thread), r.source)
	if err == nil {
		dir, err = build.HostPath(dir)
	}
	if err != nil {
		return err
	}
	s := r.words.newStep(thread, fn, r, arg("source", r.source))
	s.Needs = []build.Need{{Name: dir, At: s.At}}
	if err := r.words.Worker.Act(Context(thread), s, build.Act{}); err != nil { // a plan shows it
		return err
	}
	print, err := build.Ask(Context(thread), r.words.Worker, s, build.Fingerprint(dir))
	r.root = build.NewRoot(r.root.Name, r.root.Target, dir, print)
	return err
}

// exported(image, dir="") returns a root file system with the content of a directory below
// the target directory of the run, or of that itself: what an export has put there, or
// anybody else. It is empty if there is nothing. Exported to the same directory again, it
// takes the place of that content.
//
// Example:
//
//	root = exported(img, "tree")
//	root.write("/etc/motd", "Welcome\n")
//	export(root, "tree")
func (b *Words) exported(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var img *image
	var dir string
	if err := unpackArgs(fn, args, kwargs, "image", &img, "dir?", &dir); err != nil {
		return nil, err
	}
	if err := checkDir(dir); err != nil {
		return nil, fmt.Errorf("exported: %w", err)
	}
	r := b.newRootfs(img)
	s := b.newStep(thread, fn, nil, arg("path", dir))
	root, err := build.Ask(Context(thread), b.Worker, s, build.Exported(img.Distribution, dir))
	if err != nil {
		return nil, err
	}
	if r.root = root; root.Source != "" {
		r.source = cmp.Or(dir, ".")
	}
	return r, nil
}

// fork(root, target="") returns a second rootfs with the same content, for the image
// kind target: "lxd", "lxc", "vm", or "" for a plain tree. Changes of one are not
// seen in the other. It costs nothing: content is shared until it is changed.
//
// Example:
//
//	lxd = fork(root, target = "lxd")
//	lxc = fork(root, target = "lxc")
//	pack_lxd(lxd, img)
//	pack_lxc(lxc, img)
func (b *Words) fork(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var root *rootfs
	var target starlark.Value = starlark.None
	if err := unpackArgs(fn, args, kwargs, "root", &root, "target?", &target); err != nil {
		return nil, err
	}
	kind := root.root.Target
	if target != starlark.None {
		var ok bool
		if kind, ok = starlark.AsString(target); !ok || !knownTarget(kind) {
			return nil, errTarget(target)
		}
	}
	fork, err := root.branch(kind)
	if err != nil {
		return nil, fmt.Errorf("fork: %w", err)
	}
	return fork, nil
}

// branch returns a second rootfs with the same content, which is on a disk only if it is for a
// virtual machine.
func (r *rootfs) branch(target string) (*rootfs, error) {
	if err := r.checkSettled("fork"); err != nil {
		return nil, err
	}
	fork := *r
	fork.frozen, fork.root = "", r.root.Fork()
	fork.root.Target = target
	for _, dict := range []*starlark.Dict{r.env, r.memo} {
		if err := CheckDepth(dict); err != nil {
			return nil, fmt.Errorf("cannot copy what is remembered: %w", err)
		}
	}
	copies := make(map[starlark.Value]starlark.Value)
	fork.env, fork.memo = copyDeep(r.env, copies).(*starlark.Dict), copyDeep(r.memo, copies).(*starlark.Dict)
	if target != "vm" {
		fork.root.Disk = nil
	}
	return &fork, nil
}

func errTarget(target starlark.Value) error {
	return fmt.Errorf(`target is %s, want "lxd", "lxc", "vm" or ""`, target)
}

func knownTarget(target string) bool {
	return target == "" || target == "lxd" || target == "lxc" || target == "vm"
}

// usualEnviron is the environment that nobody has changed.
func (r *rootfs) usualEnviron() []string {
	var env stringMap
	managerField(r.manager, "env", &env) // which was read before
	list := slices.Clone(defaultEnviron)
	for key, value := range env {
		list = append(list, key+"="+value)
	}
	slices.Sort(list)
	return list
}

// environ returns the environment of programs inside, with further variables.
func (r *rootfs) environ(extra map[string]string) ([]string, error) {
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
