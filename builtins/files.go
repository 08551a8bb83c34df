package builtins

import (
	"fmt"
	"path"
	"regexp"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/tree"
)

// The methods of a rootfs that edit its files or look at them. Each is one edit or one
// question of package tree, so that a plan shows it and a key holds it.

var rootfsMethods = map[string]*starlark.Builtin{
	"append":      starlark.NewBuiltin("append", rootfsAppend),
	"chmod":       starlark.NewBuiltin("chmod", rootfsChmod),
	"clear":       starlark.NewBuiltin("clear", rootfsClear),
	"copy":        starlark.NewBuiltin("copy", rootfsCopy),
	"copy_from":   starlark.NewBuiltin("copy_from", rootfsCopyFrom),
	"exists":      starlark.NewBuiltin("exists", rootfsExists),
	"glob":        starlark.NewBuiltin("glob", rootfsGlob),
	"hardlink":    starlark.NewBuiltin("hardlink", rootfsHardlink),
	"link":        starlark.NewBuiltin("link", rootfsLink),
	"mkdir":       starlark.NewBuiltin("mkdir", rootfsMkdir),
	"mountpoints": starlark.NewBuiltin("mountpoints", rootfsMountpoints),
	"placeholder": starlark.NewBuiltin("placeholder", rootfsPlaceholder),
	"read":        starlark.NewBuiltin("read", rootfsRead),
	"readlink":    starlark.NewBuiltin("readlink", rootfsReadlink),
	"remove":      starlark.NewBuiltin("remove", rootfsRemove),
	"rename":      starlark.NewBuiltin("rename", rootfsRename),
	"replace":     starlark.NewBuiltin("replace", rootfsReplace),
	"template":    starlark.NewBuiltin("template", rootfsTemplate),
	"write":       starlark.NewBuiltin("write", rootfsWrite),
}

// change makes a change as a step of its own.
func (r *rootfs) change(thread *starlark.Thread, fn *starlark.Builtin, c build.Change, args build.Args) (starlark.Value, error) {
	if err := r.checkMutable("change"); err != nil {
		return nil, err
	}
	return starlark.None, r.words.Worker.Change(Context(thread), r.words.newStep(thread, fn, r, args...), c)
}

// look asks about a path in the image.
func (r *rootfs) look(thread *starlark.Thread, fn *starlark.Builtin, op, path string) (tree.Answer, error) {
	s := r.words.newStep(thread, fn, r, arg("path", path))
	return build.Ask(Context(thread), r.words.Worker, s, build.Look(r.root, tree.Look{Op: op, Path: path}))
}

// attributes are the arguments that all methods take which make or change a file.
type attributes struct {
	mode     fileMode
	owner    owner
	group    owner
	ifExists optionalPath
}

func (a *attributes) pairs(pairs ...any) []any {
	return append(pairs, "mode?", &a.mode, "owner?", &a.owner, "group?", &a.group)
}

// apply adds them to an edit and to the arguments of its step.
func (a *attributes) apply(edit *tree.Edit, args build.Args) build.Args {
	edit.Owner, edit.Group = string(a.owner), string(a.group)
	if a.mode.bits != nil {
		edit.SetMode, edit.Mode = true, *a.mode.bits
		args = append(args, arg("mode", fmt.Sprintf("%04o", edit.Mode)))
	}
	if edit.Owner != "" {
		args = append(args, arg("owner", edit.Owner))
	}
	if edit.Group != "" {
		args = append(args, arg("group", edit.Group))
	}
	if a.ifExists != "" {
		edit.If = string(a.ifExists)
		args = append(args, arg("if_exists", edit.If))
	}
	return args
}

func receiver(fn *starlark.Builtin) *rootfs { return fn.Receiver().(*rootfs) }

// root.write(path, content, mode=None, owner=None, group=None, if_exists="")
// creates or truncates a file and writes content, a text or bytes, as it is. Missing
// directories are made, 0755. A new file is 0644 and root's, an old one keeps mode
// and owner, unless said otherwise; owner and group are numbers or names in the image.
// Where the image has no file of the path if_exists, nothing happens.
//
// Example:
//
//	root.write("/etc/motd", "Welcome\n")
//	root.write("/usr/local/bin/hello", "#!/bin/sh\necho hello\n", mode = 0o755)
func rootfsWrite(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return writeText(thread, fn, args, kwargs, "write")
}

// root.append(path, content, mode=None, owner=None, group=None, if_exists="") adds text
// to the end of a file; the rest is as for write.
//
// Example:
//
//	root.append("/etc/profile", "umask 027\n")
func rootfsAppend(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return writeText(thread, fn, args, kwargs, "append")
}

func writeText(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple, op string) (starlark.Value, error) {
	var path filePath
	var content fileContent
	var a attributes
	if err := unpackArgs(fn, args, kwargs, a.pairs("path", &path, "content", &content, "if_exists?", &a.ifExists)...); err != nil {
		return nil, err
	}
	edit := tree.Edit{Op: op, Path: string(path), Content: content}
	shown := a.apply(&edit, build.Args{arg("path", string(path)), arg("content", string(content))})
	return receiver(fn).change(thread, fn, build.Edit(edit), shown)
}

// root.replace(path, pattern, text="") puts text in place of all that matches the RE2
// pattern, line by line; in text, $1 or ${1} stands for what a group matched.
//
// Example:
//
//	root.replace("/etc/default/grub", "^GRUB_TIMEOUT=.*", "GRUB_TIMEOUT=0")
func rootfsReplace(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var path filePath
	var pattern, text string
	if err := unpackAnyArgs(fn, args, kwargs, "path", &path, "pattern", &pattern, "text", &text); err != nil {
		return nil, err
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, fmt.Errorf("replace: %w", err)
	}
	edit := tree.Edit{Op: "replace", Path: string(path), Pattern: pattern, Content: []byte(text)}
	return receiver(fn).change(thread, fn, build.Edit(edit), build.Args{arg("path", string(path)), arg("pattern", pattern), arg("text", text)})
}

// root.mkdir(path, mode=None, owner=None, group=None) makes a directory and its
// missing parents, 0755 unless said otherwise; one that is there stays.
//
// Example:
//
//	root.mkdir("/srv/data", mode = 0o750, owner = "www-data", group = "www-data")
func rootfsMkdir(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return setAttributes(thread, fn, args, kwargs, "mkdir")
}

// root.chmod(path, mode=None, owner=None, group=None) changes mode, owner and group of
// the file that path leads to.
//
// Example:
//
//	root.chmod("/etc/shadow", mode = 0o640, owner = "root", group = "shadow")
func rootfsChmod(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return setAttributes(thread, fn, args, kwargs, "chmod")
}

func setAttributes(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple, op string) (starlark.Value, error) {
	var path anyPath
	var a attributes
	if err := unpackArgs(fn, args, kwargs, a.pairs("path", &path)...); err != nil {
		return nil, err
	}
	edit := tree.Edit{Op: op, Path: string(path)}
	shown := a.apply(&edit, build.Args{arg("path", edit.Path)})
	return receiver(fn).change(thread, fn, build.Edit(edit), shown)
}

// root.link(path, target) makes path a symbolic link with the text target. A file or
// link that is there gives way.
//
// Example:
//
//	root.link("/etc/localtime", "/usr/share/zoneinfo/Europe/Berlin")
func rootfsLink(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var path filePath
	var target anyPath
	if err := unpackArgs(fn, args, kwargs, "path", &path, "target", &target); err != nil {
		return nil, err
	}
	edit := tree.Edit{Op: "symlink", Path: string(path), To: string(target)}
	return receiver(fn).change(thread, fn, build.Edit(edit), build.Args{arg("path", edit.Path), arg("target", edit.To)})
}

// root.hardlink(path, target) gives the file target the second name path.
//
// Example:
//
//	root.hardlink("/usr/bin/vi", "/usr/bin/busybox")
func rootfsHardlink(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return twoPaths(thread, fn, args, kwargs, "link", "target")
}

// root.rename(path, to) moves a file or directory; what is at to is replaced.
//
// Example:
//
//	root.rename("/etc/apt/sources.list", "/etc/apt/sources.list.old")
func rootfsRename(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return twoPaths(thread, fn, args, kwargs, "rename", "to")
}

func twoPaths(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple, op, second string) (starlark.Value, error) {
	var path, to filePath
	if err := unpackArgs(fn, args, kwargs, "path", &path, second, &to); err != nil {
		return nil, err
	}
	edit := tree.Edit{Op: op, Path: string(path), To: string(to)}
	return receiver(fn).change(thread, fn, build.Edit(edit), build.Args{arg("path", edit.Path), arg(second, edit.To)})
}

// root.remove(path) removes a file, or a directory with all below it. It is no error
// if there is none. A symbolic link is removed, not what it points to.
//
// Example:
//
//	root.remove("/etc/machine-id")
func rootfsRemove(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return onePath(thread, fn, args, kwargs, "remove")
}

// root.clear(path) removes everything in a directory and keeps the directory. It is no
// error if there is none.
//
// Example:
//
//	root.clear("/var/cache/apt/archives")
func rootfsClear(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return onePath(thread, fn, args, kwargs, "clear")
}

// root.mountpoints() makes the directories, where they are missing, over which whoever runs
// the image mounts: /dev, /proc, /run and /sys, 0755, and /tmp, 1777. /dev is emptied, since
// its nodes are the business of those who run the image.
//
// Example:
//
//	unpack(root, local("base.tar.xz"))
//	root.mountpoints()
func rootfsMountpoints(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	if err := unpackArgs(fn, args, kwargs); err != nil {
		return nil, err
	}
	edits := []tree.Edit{{Op: "clear", Path: "/dev"}}
	for _, dir := range []string{"/dev", "/proc", "/run", "/sys"} {
		edits = append(edits, tree.Edit{Op: "mkdir", Path: dir, SetMode: true, Mode: 0o755, Unless: dir})
	}
	edits = append(edits, tree.Edit{Op: "mkdir", Path: "/tmp", SetMode: true, Mode: 0o1777, Unless: "/tmp"})
	return receiver(fn).change(thread, fn, build.Edit(edits...), nil)
}

func onePath(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple, op string) (starlark.Value, error) {
	var name filePath
	if err := unpackArgs(fn, args, kwargs, "path", &name); err != nil {
		return nil, err
	}
	return receiver(fn).change(thread, fn, build.Edit(tree.Edit{Op: op, Path: string(name)}), build.Args{arg("path", string(name))})
}

// root.read(path, default=None) returns the text of a regular file. Where there is none it
// returns default, or fails if that is not given.
//
// Example:
//
//	text = root.read("/etc/os-release", default = "")
//	if "VERSION_ID" in text:
//	    root.write("/etc/issue", text)
func rootfsRead(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return text(thread, fn, args, kwargs, "read")
}

// root.readlink(path, default=None) returns the text of a symbolic link. Where there
// is nothing, or no link, it returns default, or fails if that is not given.
//
// Example:
//
//	if root.readlink("/bin", default = "") == "usr/bin":
//	    root.write("/etc/merged", "yes\n")
func rootfsReadlink(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	return text(thread, fn, args, kwargs, "readlink")
}

func text(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple, op string) (starlark.Value, error) {
	var path filePath
	var missing starlark.Value
	if err := unpackArgs(fn, args, kwargs, "path", &path, "default?", &missing); err != nil {
		return nil, err
	}
	answer, err := receiver(fn).look(thread, fn, op, string(path))
	switch {
	case err != nil:
		return nil, err
	case answer.Found:
		return starlark.String(answer.Data), nil
	case missing != nil:
		return missing, nil
	case answer.Other:
		return nil, fmt.Errorf("cannot read %s: not a regular file", path)
	}
	what := map[string]string{"read": "file", "readlink": "link"}[op]
	return nil, fmt.Errorf("cannot read %s: there is no such %s in the image", path, what)
}

// root.exists(path) tells whether there is a file, directory or link of that name. A
// dangling link is there.
//
// Example:
//
//	if root.exists("/etc/systemd/system"):
//	    root.link("/etc/systemd/system/ctrl-alt-del.target", "/dev/null")
func rootfsExists(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var path anyPath
	if err := unpackArgs(fn, args, kwargs, "path", &path); err != nil {
		return nil, err
	}
	answer, err := receiver(fn).look(thread, fn, "exists", string(path))
	return starlark.Bool(answer.Found), err
}

// root.glob(pattern) returns the sorted paths that match, such as
// "/etc/apt/sources.list.d/*.list": *, ? and [a-z] stand for parts of one name, /**/ for any
// number of directories, and a pattern that ends in / matches only directories.
//
// Example:
//
//	for path in root.glob("/etc/ssh/ssh_host_*"):
//	    root.remove(path)
func rootfsGlob(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var pattern anyPath
	if err := unpackArgs(fn, args, kwargs, "pattern", &pattern); err != nil {
		return nil, err
	}
	if _, err := path.Match(string(pattern), ""); err != nil {
		return nil, fmt.Errorf("glob: %w: %s", err, pattern)
	}
	answer, err := receiver(fn).look(thread, fn, "glob", string(pattern))
	if err != nil {
		return nil, err
	}
	names := make([]starlark.Value, len(answer.Names))
	for i, name := range answer.Names {
		names[i] = starlark.String(name)
	}
	return starlark.NewList(names), nil
}
