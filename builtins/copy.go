package builtins

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/tree"
)

// root.copy(source, path, mode=None, owner=None, group=None) copies a file to the path,
// as write does its text. source is a file of download or local, or names files of this
// machine as local does: a file, a directory, whose content is copied, or several by
// the wildcards *, ? and [a-z] in the last element. With several, or if path ends in a
// slash, it is the directory to copy them to. Symbolic links are copied as such; mode,
// owner and group are for all regular files.
func rootfsCopy(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var source starlark.Value
	var to optionalPath
	var a attributes
	if err := unpackArgs(fn, args, kwargs, a.pairs("source", &source, "path", &to)...); err != nil {
		return nil, err
	}
	path := string(to)
	r := receiver(fn)
	switch source := source.(type) {
	case *File:
		edit := tree.Edit{Op: "copy", Path: path, Source: source.path, SHA256: source.sha256}
		return r.change(thread, fn, edit, a.apply(&edit, []Arg{{"file", source}, {"path", path}})...)
	case starlark.String:
		if source == "" {
			return nil, errors.New("copy: source is empty")
		}
		return r.copyLocal(thread, fn, string(source), path, &a)
	}
	return nil, fmt.Errorf("copy: for parameter source: got %s, want a file or a path of this machine", source.Type())
}

func (r *Rootfs) copyLocal(thread *starlark.Thread, fn *starlark.Builtin, source, path string, a *attributes) (starlark.Value, error) {
	if err := r.checkMutable("change"); err != nil {
		return nil, err
	}
	if _, err := filepath.Match(source, ""); err != nil {
		return nil, fmt.Errorf("copy: %w: %s", err, source)
	}
	host, err := r.build.Locate(callerFile(thread), source)
	if err != nil {
		return nil, err
	}
	var like tree.Edit
	s := r.build.newStep(thread, fn, r, a.apply(&like, []Arg{{"source", source}, {"path", path}})...)
	edits, err := r.build.Worker.Expand(s, host, path)
	if err != nil {
		return nil, fmt.Errorf("cannot copy %s: %w", source, err)
	}
	for i := range edits {
		if edits[i].Op == "copy" {
			edits[i].Mode, edits[i].Owner, edits[i].Group = like.Mode, like.Owner, like.Group
		}
	}
	s.Spec = sandbox.Spec{Edits: edits}
	return starlark.None, r.build.Worker.Change(Context(thread), s)
}

// Expand implements Worker.
func (w *Builder) Expand(s *Step, source, path string) ([]tree.Edit, error) {
	source, err := filepath.Abs(source)
	if err != nil {
		return nil, err
	}
	matches, err := matching(source)
	if err != nil {
		return nil, err
	}
	if len(matches) > 1 && !strings.HasSuffix(path, "/") {
		path += "/"
	}
	var e expander
	for _, match := range matches {
		if err := e.item(match, path); err != nil {
			return nil, err
		}
	}
	for _, skipped := range e.skipped {
		w.Log.Warn("neither a file nor a directory nor a link: not copied", "path", skipped)
	}
	s.Args = append(s.Args, Arg{"content", e.content})
	return e.edits, nil
}

// matching returns the files that a path with wildcards in its last element names; a
// path that matches nothing is taken as it is.
func matching(pattern string) ([]string, error) {
	names, err := os.ReadDir(filepath.Dir(pattern))
	if err != nil {
		return nil, err
	}
	var matches []string
	for _, d := range names {
		name := filepath.Join(filepath.Dir(pattern), d.Name())
		if ok, err := filepath.Match(pattern, name); err != nil {
			return nil, err
		} else if ok {
			matches = append(matches, name)
		}
	}
	if matches == nil {
		matches = []string{pattern}
	}
	return matches, nil
}

// An expander collects the edits that copy files of the host.
type expander struct {
	edits   []tree.Edit
	content []string // what they copy: names in the image with digests or texts of links
	skipped []string
}

// item copies one file, link or directory; what it is, its target decides.
func (e *expander) item(source, to string) error {
	st, err := os.Stat(source)
	if err != nil {
		return err
	}
	switch {
	case st.Mode().IsRegular():
		if strings.HasSuffix(to, "/") {
			to = path.Join(to, filepath.Base(source))
		}
		return e.file(source, to)
	case st.IsDir():
		return e.dir(source, to)
	}
	return fmt.Errorf("%s is neither a file nor a directory", source)
}

func (e *expander) file(source, to string) error {
	// The edits hold what was seen here, so that nothing else is copied later.
	if link, err := os.Readlink(source); err == nil {
		e.content = append(e.content, to+" -> "+link)
		e.edits = append(e.edits, tree.Edit{Op: "symlink", Path: to, To: link})
		return nil
	}
	f, err := openFile(source, filepath.Base(source))
	if err != nil {
		return err
	}
	e.content = append(e.content, to+" "+f.sha256)
	e.edits = append(e.edits, tree.Edit{Op: "copy", Path: to, Source: source, SHA256: f.sha256})
	return nil
}

// dir copies the content of a directory. A link to one is copied as a link.
func (e *expander) dir(source, to string) error {
	return filepath.WalkDir(source, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(source, name)
		if err != nil {
			return err
		}
		target := path.Join("/", to, filepath.ToSlash(rel))
		switch d.Type() {
		case fs.ModeDir:
			e.content = append(e.content, target+"/")
			e.edits = append(e.edits, tree.Edit{Op: "mkdir", Path: target})
			return nil
		case 0, fs.ModeSymlink:
			return e.file(name, target)
		}
		e.skipped = append(e.skipped, name)
		return nil
	})
}
