package builtins

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/windows"
)

// Installation media of Windows: the words that repack_windows of the standard library is made
// of. What they take and return are plain dictionaries and lists, as the engine has them.

// windows_medium(iso, files) returns what is on an installation medium, a file or a path, as a dict: label;
// assumed, that nothing is known in a plan, as the medium is not there yet; and files, for each of
// files, which are lists of paths of which the first counts that is there in any spelling, None or
// a dict: path, as it is spelt; parts, of how many files it is one; and images, dicts with index,
// name, architecture ("amd64", "ARM64", "x86", or "" if it is not told), major, minor, build,
// product, installation and edition, as the XML of the WIM file has them, and has, by which
// windows_repack tells what it has got.
//
// What is no medium, and a damaged file of images, is an error.
//
// Example:
//
//	medium = windows_medium("Win11.iso", [["sources/install.wim", "sources/install.esd"]])
//	if not medium["assumed"]:
//	    print([image["name"] for image in medium["files"][0]["images"]])
func (b *Words) windowsMedium(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var iso, files starlark.Value
	if err := unpackArgs(fn, args, kwargs, "iso", &iso, "files", &files); err != nil {
		return nil, err
	}
	var paths [][]string
	if err := plainOf(thread, files, &paths); err != nil {
		return nil, Misuse{fmt.Errorf("windows_medium: files: %w", err)}
	}
	s := b.newStep(thread, fn, nil)
	medium, err := b.windowsSource(thread, s, "iso", iso)
	if err != nil {
		return nil, err
	}
	s.Args = build.Args{arg("iso", medium), arg("files", paths)}
	found, err := build.Ask(Context(thread), b.Worker, s, build.FindWindows(medium, paths))
	if err == nil {
		err = found.Problem
	}
	if err != nil {
		return nil, err
	}
	return valueOf(thread, found)
}

// windows_drivers(drivers, directories) returns what is in directories of drivers, as a dict:
// assumed, that nothing is known in a plan, as the drivers are not there yet; and dirs, for each
// of the directories, which are found in any spelling, None or a dict: path, as it is spelt; files,
// dicts with name and sha256; and infs, by their names, what its INF files tell: class,
// class_guid, provider, catalog, date and version of DriverVer, file_time, the date as the
// registry has it in hexadecimal, and rank, the 48 bytes that the database of drivers calls
// Version; problem is why nothing else is known of one, "" if all is. drivers is the file of a medium, or the path
// of one or of a directory (see local).
//
// Example:
//
//	found = windows_drivers("virtio-win.iso", ["NetKVM/w11/amd64", "viostor/w11/amd64"])
//	if not found["assumed"]:
//	    print([place for place, dir in found["dirs"].items() if dir == None])
func (b *Words) windowsDrivers(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var source starlark.Value
	var directories stringList
	if err := unpackArgs(fn, args, kwargs, "drivers", &source, "directories", &directories); err != nil {
		return nil, err
	}
	s := b.newStep(thread, fn, nil)
	drivers, err := b.windowsSource(thread, s, "drivers", source)
	if err != nil {
		return nil, err
	}
	s.Args = build.Args{arg("drivers", drivers), arg("directories", []string(directories))}
	found, err := build.Ask(Context(thread), b.Worker, s, build.FindDrivers(drivers, directories))
	if err == nil {
		err = found.Problem
	}
	if err != nil {
		return nil, err
	}
	return valueOf(thread, found)
}

// windowsSource is an argument that says where a medium or drivers are.
func (b *Words) windowsSource(thread *starlark.Thread, s *build.Step, name string, v starlark.Value) (w build.WindowsSource, err error) {
	if f, ok := v.(*file); ok {
		w.File = f.File
		return w, nil
	}
	path, ok := starlark.AsString(v)
	if !ok || path == "" {
		return w, Misuse{fmt.Errorf("%s: for parameter %s: got %s, want a file, or a path", s.Builtin, name, v.Type())}
	}
	if b.Locate == nil {
		return w, errors.New("internal error: recipes cannot name local files")
	}
	if w.Path, err = b.Locate(callerFile(thread), path); err == nil {
		w.Path, err = filepath.Abs(w.Path)
	}
	s.Needs = append(s.Needs, build.Need{Name: w.Path, At: s.At})
	return w, err
}

// windows_repack(iso, drivers, edits=[], boot=[], name, dir="") makes an installation medium of
// another one and puts it into the directory dir of the results; it returns the path below that
// of the results. iso and drivers are those of windows_medium and windows_drivers; of a path that
// is as it was when the new medium was made nothing is read again.
//
// edits are dicts: file and index of an image, image, its name, has, what windows_medium says of
// that, by which an image that has got the same before stays as it is, and injection, a dict:
// name, what it is for; files, dicts with source, a path in the drivers, sha256, and to, a list of
// paths in the image; missing, texts for readers of a plan; moves, dicts with from and to; and hives, dicts with path, required, and
// keys, dicts with key, a path from the root of the hive, and values, lists of a name, a type and
// data. Keys that begin with CurrentControlSet are those of the control set that Windows starts
// with. All paths have slashes, but that of a key, and are found in any spelling.
//
// boot are dicts with path, platform ("bios" or "efi") and sectors; one whose file is not on the
// medium is left out.
//
// Example:
//
//	windows_repack("Win11.iso", "virtio-win.iso", name = "Win11-virtio.iso")
func (b *Words) windowsRepack(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var iso, source starlark.Value
	edits, boot := starlark.Value(starlark.NewList(nil)), starlark.Value(starlark.NewList(nil))
	var r build.WindowsRepack
	if err := unpackArgs(fn, args, kwargs, "iso", &iso, "drivers", &source, "name", &r.Name, "edits?", &edits, "boot?", &boot, "dir?", &r.Dir); err != nil {
		return nil, err
	}
	s := b.newStep(thread, fn, nil)
	var err error
	if r.Medium, err = b.windowsSource(thread, s, "iso", iso); err != nil {
		return nil, err
	}
	if r.Drivers, err = b.windowsSource(thread, s, "drivers", source); err != nil {
		return nil, err
	}
	var text json.RawMessage
	err = errors.Join(plainOf(thread, boot, &r.Boot), plainOf(thread, edits, &text), build.CheckFileName(r.Name), checkDir(r.Dir))
	if err == nil {
		r.Edits, err = windows.ParseEdits(text)
	}
	if err != nil {
		return nil, Misuse{fmt.Errorf("windows_repack: %w", err)}
	}
	s.Args = r.PlanArgs()
	if _, err := b.Worker.Make(Context(thread), s, build.RepackWindows(s, r)); err != nil {
		return nil, err
	}
	return starlark.String(path.Join(r.Dir, r.Name)), nil
}

// plainOf turns a value of a recipe into one of Go.
func plainOf(thread *starlark.Thread, v starlark.Value, to any) error {
	text, err := starlark.Call(thread, jsonModule.Members["encode"], starlark.Tuple{v}, nil)
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(text.(starlark.String)), to)
}

// valueOf turns a value of Go into dictionaries and lists.
func valueOf(thread *starlark.Thread, v any) (starlark.Value, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return starlark.Call(thread, jsonModule.Members["decode"], starlark.Tuple{starlark.String(text)}, nil)
}
