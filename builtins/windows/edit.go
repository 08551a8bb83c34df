package windows

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/sandbox"
)

// One file of images: what each of them is to get is prepared side by side, as wimlib only
// reads for that, and put into the file one after the other.

// edit edits the images of a file.
func (j *Job) edit(ctx context.Context, scratch *dirfd.Dir, name string) error {
	prepare, prepareCtx := errgroup.WithContext(ctx)
	prepare.SetLimit(runtime.NumCPU())
	var edits []*imageEdit
	for _, e := range j.Edits {
		if e.File != name {
			continue
		}
		edit := &imageEdit{Job: j, Edit: e, dir: path.Join(imagesDir, fmt.Sprintf("%s.%d", path.Base(name), e.Index))}
		edits = append(edits, edit)
		prepare.Go(func() error {
			defer j.step(fmt.Sprintf("prepare %s, image %d, %s", name, e.Index, e.Image))()
			return edit.in(edit.prepare(prepareCtx, scratch))
		})
	}
	if err := prepare.Wait(); err != nil {
		return err
	}
	for _, e := range edits {
		done := j.step(fmt.Sprintf("change %s, image %d, %s", name, e.Index, e.Image))
		if err := e.in(e.update(ctx)); err != nil {
			return err
		}
		done()
	}
	return nil
}

// An imageEdit is an edit while it is made.
type imageEdit struct {
	*Job
	Edit
	dir      string            // in the scratch directory
	spelling map[string]string // how paths of the image are spelt there, by lower case
	hives    []Hive            // that the image has
}

// in says in which image something went wrong.
func (e *imageEdit) in(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("cannot change image %d (%s) of %s: %w", e.Index, e.Image, e.File, err)
}

// wim is the file of images as programs see it.
func (e *imageEdit) wim() string { return at(mediumDir, e.File) }

// prepare makes the hives as they are to be.
func (e *imageEdit) prepare(ctx context.Context, scratch *dirfd.Dir) error {
	if err := scratch.Mkdir(e.dir, 0o755); err != nil {
		return err
	}
	if err := e.look(ctx); err != nil {
		return err
	}
	if err := e.findHives(); err != nil {
		return err
	}
	return e.merge(ctx)
}

// Names in the directory of an edit, besides those of hives.
const (
	listName     = "list"     // of what is in the image
	selectName   = "select"   // the key Select of the registry
	commandsName = "commands" // for wimlib
)

// look takes the hives out of the image, with a list of what is in it, and which control set
// counts. A hive that is not there is none of its business.
func (e *imageEdit) look(ctx context.Context) error {
	image := []string{e.wim(), fmt.Sprint(e.Index)}
	extract := append([]string{"wimlib-imagex", "extract"}, image...)
	for _, h := range e.Injection.Hives {
		extract = append(extract, "/"+h.Path)
	}
	extract = append(extract, "--nullglob", "--no-acls", "--no-attributes", "--dest-dir="+at(e.dir))
	script := scriptOf(
		host.Quote(append([]string{"wimlib-imagex", "dir"}, image...))+" >"+listName,
		host.Quote(extract),
		// A name in the image may be spelt otherwise.
		`for hive in [Ss][Yy][Ss][Tt][Ee][Mm]; do [ ! -e "$hive" ] || hivexregedit --export "$hive" '\Select' >`+selectName+`; done`,
	)
	if err := e.inDir(ctx, script); err != nil {
		return err
	}
	return e.readList()
}

// scriptOf is a script that ends where one of its lines fails.
func scriptOf(lines ...string) string {
	return "#!/bin/sh\nset -e\n" + strings.Join(lines, "\n") + "\n"
}

// inDir runs a script in the directory of the edit.
func (e *imageEdit) inDir(ctx context.Context, script string) error {
	script = strings.Replace(script, "set -e\n", "set -e\ncd "+host.Quote([]string{at(e.dir)})+"\n", 1)
	return e.run(ctx, e.Output, sandbox.Program{Script: script})
}

// readList finds out how the paths that are of interest are spelt in the image.
func (e *imageEdit) readList() error {
	wanted := make(map[string]bool)
	for _, name := range e.paths() {
		for ; name != "."; name = path.Dir(name) {
			wanted[strings.ToLower(name)] = true
		}
	}
	f, err := os.Open(e.hostPath(e.dir, listName))
	if err != nil {
		return err
	}
	defer f.Close()
	e.spelling = make(map[string]string)
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name := strings.TrimPrefix(lines.Text(), "/")
		if lower := strings.ToLower(name); wanted[lower] {
			e.spelling[lower] = name
		}
	}
	return lines.Err()
}

// paths are those of the image that are of interest.
func (e *imageEdit) paths() []string {
	var list []string
	for _, p := range e.Injection.Files {
		list = append(list, p.To...)
	}
	for _, m := range e.Injection.Moves {
		list = append(list, m.From, m.To)
	}
	for _, h := range e.Injection.Hives {
		list = append(list, h.Path)
	}
	return list
}

// spelt returns a path as it is spelt in the image, as far as it is there, and whether all of
// it is.
func (e *imageEdit) spelt(name string) (string, bool) {
	rest := ""
	for dir := name; dir != "."; dir = path.Dir(dir) {
		if there, ok := e.spelling[strings.ToLower(dir)]; ok {
			return path.Join(there, rest), rest == ""
		}
		rest = path.Join(path.Base(dir), rest)
	}
	return name, false
}

// findHives finds out which hives the image has.
func (e *imageEdit) findHives() error {
	for _, h := range e.Injection.Hives {
		name, ok := e.spelt(h.Path)
		switch {
		case ok:
			h.Path = name
			e.hives = append(e.hives, h)
		case h.Required:
			return fmt.Errorf("there is no %s in it: it holds no Windows", h.Path)
		default:
			e.Log.Warn("a part of the registry is not there: the drivers are not told of in it", "hive", h.Path,
				"file", e.File, "image", e.Index)
		}
	}
	return nil
}

// merge gives the hives their keys.
func (e *imageEdit) merge(ctx context.Context) error {
	set := 0
	if export, err := os.ReadFile(e.hostPath(e.dir, selectName)); err == nil {
		if set, err = currentControlSet(string(export)); err != nil {
			return err
		}
	}
	var lines []string
	for _, h := range e.hives {
		name := path.Base(h.Path)
		text := name + ".reg"
		if err := os.WriteFile(e.hostPath(e.dir, text), []byte(regText(h.Keys, set)), 0o600); err != nil {
			return err
		}
		lines = append(lines, host.Quote([]string{"hivexregedit", "--merge", name, text}))
	}
	return e.inDir(ctx, scriptOf(lines...))
}

// update puts everything into the image.
func (e *imageEdit) update(ctx context.Context) error {
	var commands strings.Builder
	for _, p := range e.Injection.Files {
		for _, to := range p.To {
			name, _ := e.spelt(to)
			fmt.Fprintf(&commands, "add \"%s\" \"/%s\"\n", at(driversDir, p.SHA256), name)
		}
	}
	for _, m := range e.Injection.Moves {
		from, ok := e.spelt(m.From)
		to, taken := e.spelt(m.To)
		if ok && !taken {
			fmt.Fprintf(&commands, "rename \"/%s\" \"/%s\"\n", from, to)
		}
	}
	for _, h := range e.hives {
		fmt.Fprintf(&commands, "add \"%s\" \"/%s\"\n", at(e.dir, path.Base(h.Path)), h.Path)
	}
	if err := os.WriteFile(e.hostPath(e.dir, commandsName), []byte(commands.String()), 0o600); err != nil {
		return err
	}
	return e.inDir(ctx, scriptOf(host.Quote([]string{"wimlib-imagex", "update", e.wim(), fmt.Sprint(e.Index)})+" <"+commandsName))
}
