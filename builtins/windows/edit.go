package windows

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

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
func (e *imageEdit) wim() string { return at(wimsDir, e.File) }

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
	return e.merge(ctx, scratch)
}

// look takes the hives out of the image, and finds out how the paths that are of interest are
// spelt there.
func (e *imageEdit) look(ctx context.Context) error {
	wanted := make(map[string]bool)
	for _, name := range e.paths() {
		for ; name != "."; name = path.Dir(name) {
			wanted[strings.ToLower(name)] = true
		}
	}
	e.spelling = make(map[string]string)
	lines := &lineWriter{do: func(line string) {
		name, ok := strings.CutPrefix(line, "/")
		if lower := strings.ToLower(name); wanted[lower] {
			e.spelling[lower] = name
		} else if !ok { // it is no path
			fmt.Fprintln(e.Output, line)
		}
	}}
	image := []string{e.wim(), fmt.Sprint(e.Index)}
	extract := append([]string{"wimlib-imagex", "extract", "--quiet"}, image...)
	for _, h := range e.Injection.Hives {
		extract = append(extract, "/"+h.Path)
	}
	return e.run(ctx, lines,
		sandbox.Program{Args: append([]string{"wimlib-imagex", "dir"}, image...)},
		// A hive that is not there is none of its business.
		sandbox.Program{Args: append(extract, "--nullglob", "--no-acls", "--no-attributes", "--dest-dir="+at(e.dir))},
	)
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
func (e *imageEdit) merge(ctx context.Context, scratch *dirfd.Dir) error {
	var programs []sandbox.Program
	for _, h := range e.hives {
		set, err := e.controlSet(scratch, h)
		if err != nil {
			return fmt.Errorf("cannot read %s: %w", h.Path, err)
		}
		name := path.Base(h.Path)
		text := name + ".reg"
		if err := os.WriteFile(e.hostPath(e.dir, text), []byte(regText(h.Keys, set)), 0o600); err != nil {
			return err
		}
		programs = append(programs, sandbox.Program{Args: []string{"hivexregedit", "--merge", at(e.dir, name), at(e.dir, text)}})
	}
	return e.run(ctx, e.Output, programs...)
}

// controlSet is the number of the control set that Windows starts with, for a hive that is to
// have keys in it.
func (e *imageEdit) controlSet(scratch *dirfd.Dir, h Hive) (int, error) {
	for _, k := range h.Keys {
		if strings.HasPrefix(k.Path, CurrentControlSet) {
			f, err := scratch.OpenFile(path.Join(e.dir, path.Base(h.Path)), unix.O_RDONLY|unix.O_NONBLOCK, 0)
			if err != nil {
				return 0, err
			}
			defer f.Close()
			return currentControlSet(f)
		}
	}
	return 0, nil
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
	const name = "commands"
	if err := os.WriteFile(e.hostPath(e.dir, name), []byte(commands.String()), 0o600); err != nil {
		return err
	}
	command := []string{"wimlib-imagex", "update", "--quiet", e.wim(), fmt.Sprint(e.Index)}
	tell := []string{"wimlib-imagex", "info", "--image-property", hasProperty + "=" + e.Injection.digest(), e.wim(), fmt.Sprint(e.Index)}
	script := "#!/bin/sh\nset -e\n" + host.Quote(command) + " <" + host.Quote([]string{at(e.dir, name)}) + "\n" + host.Quote(tell) + "\n"
	if err := e.run(ctx, e.Output, sandbox.Program{Script: script}); err != nil {
		return fmt.Errorf("%s: %w", host.Quote(command), err)
	}
	return nil
}

// A lineWriter hands on what is written to it line by line.
type lineWriter struct {
	do   func(line string)
	rest []byte
}

func (l *lineWriter) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	end := bytes.LastIndexByte(l.rest, '\n') + 1
	for line := range strings.Lines(string(l.rest[:end])) {
		l.do(strings.TrimSuffix(line, "\n"))
	}
	l.rest = append(l.rest[:0], l.rest[end:]...)
	return len(p), nil
}
