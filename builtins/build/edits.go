package build

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/tree"
	"imagebuilder/builtins/treetask"
)

// Effects that change files one by one, with those of this machine that are copied in.

// Edit changes files of the root file system.
func Edit(edits ...tree.Edit) Change {
	return Change{Do: func(ctx context.Context, _ *Builder, stack sandbox.Stack, _ io.Writer) error {
		_, err := treetask.Editing.Run(ctx, []sandbox.Stack{stack}, edits)
		return err
	}}
}

// CopyIn copies a file to a path of the root file system; like says mode and owner. The
// bytes are checked while they are copied: that they are others is found without reading
// them twice.
func CopyIn(f *File, like tree.Edit) Change {
	like.Op, like.Source, like.SHA256 = "copy", f.path, f.SHA256
	copying := Edit(like)
	return Change{Do: func(ctx context.Context, b *Builder, stack sandbox.Stack, out io.Writer) error {
		err := copying.Do(ctx, b, stack, out)
		if err != nil && f.note != "" && context.Cause(ctx) == nil {
			err = cmp.Or(Change{Reads: []*File{f}}.unchanged(ctx), err)
		}
		return err
	}}
}

// LocalFiles are files of the host as edits that copy them.
type LocalFiles struct {
	Edits   []tree.Edit
	Content []string // what they copy: names in the image with digests or texts of links
}

// Expand asks what a path of the host names, with wildcards in its last element, and how
// that is copied to a path of an image.
func Expand(source, to string) Question[LocalFiles] {
	// No recipe is told of the answer: none can do otherwise because of what a plan assumes.
	assume := func(*Planner) (LocalFiles, bool) { return LocalFiles{}, true }
	return Question[LocalFiles]{What: "expand", Assume: assume, Find: func(_ context.Context, b *Builder) (LocalFiles, error) {
		matches, err := matching(source)
		if err != nil {
			return LocalFiles{}, err
		}
		if len(matches) > 1 && !strings.HasSuffix(to, "/") {
			to += "/"
		}
		var e expander
		for _, match := range matches {
			if err := e.item(match, to); err != nil {
				return LocalFiles{}, err
			}
		}
		for _, skipped := range e.skipped {
			b.Log.Warn("neither a file nor a directory nor a link: not copied", "path", skipped)
		}
		b.readCopied(e.Edits)
		return e.LocalFiles, nil
	}}
}

// Expandable tells what Expand needs of the host, and what stands in its way.
func Expandable(source string) (need Need, ready func(context.Context) error) {
	if !strings.ContainsAny(filepath.Base(source), `*?[\`) {
		return Need{Name: source}, nil
	}
	return Need{Name: filepath.Dir(source)}, func(context.Context) error {
		if matches, err := matching(source); err == nil && matches[0] == source { // and no such file
			if _, err := os.Lstat(source); err != nil {
				return fmt.Errorf("nothing matches %s", source)
			}
		}
		return nil
	}
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
	LocalFiles
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
		e.Content = append(e.Content, to+" -> "+link)
		e.Edits = append(e.Edits, tree.Edit{Op: "symlink", Path: to, To: link})
		return nil
	}
	f, err := openFile(source, filepath.Base(source))
	if err != nil {
		return err
	}
	e.Content = append(e.Content, to+" "+f.SHA256)
	e.Edits = append(e.Edits, tree.Edit{Op: "copy", Path: to, Source: source, SHA256: f.SHA256})
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
			e.Content = append(e.Content, target+"/")
			e.Edits = append(e.Edits, tree.Edit{Op: "mkdir", Path: target})
			return nil
		case 0, fs.ModeSymlink:
			return e.file(name, target)
		}
		e.skipped = append(e.skipped, name)
		return nil
	})
}
