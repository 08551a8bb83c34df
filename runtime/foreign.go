package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"imagebuilder/builtins"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/library"
)

// Libraries of others: those that imagebuilder.mod beside the recipe names. That of the recipe
// is the only list that counts: what a library loads of another one is pinned there, too. Their
// files see nothing of this machine but each other, and what the user has given.

// library returns the library of a name that begins with "@".
func (l *loader) library(name string) (*tree, error) {
	if lib, ok := l.libraries[name]; ok {
		return lib, nil
	}
	list, err := library.Read(l.base)
	if err != nil {
		return nil, err
	}
	pin, ok := list.Find(name[1:])
	if !ok {
		return nil, l.unknown(name, list)
	}
	dir, err := library.Find(l.ctx, l.base, pin, l.shelf)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir) // which no link leads out of
	if err != nil {
		return nil, fmt.Errorf("cannot use the library %s: %w", name, pathCause(err))
	}
	lib := &tree{name: name, files: root.FS(), dir: dir, pin: &pin}
	l.libraries[name] = lib
	return lib, nil
}

// unknown is the error of a library that is nowhere.
func (l *loader) unknown(name string, list *library.List) error {
	known := []string{"@recipes", "@stdlib"}
	for _, pin := range list.Pins() {
		known = append(known, "@"+pin.Name)
	}
	text := fmt.Sprintf("there is no library %s", name)
	if near := builtins.Nearest(name, known); near != "" {
		text += " (did you mean " + near + "?)"
	}
	slices.Sort(known)
	text += "; known are " + strings.Join(known, ", ")
	if library.CheckName(name[1:]) != nil {
		return errors.New(text)
	}
	return fmt.Errorf("%s; 'imagebuilder mod add %s URL' adds it to %s", text, name[1:], filepath.Join(l.base, library.FileName))
}

// isForeign tells whether a file is of a library of others.
func (l *loader) isForeign(file string) bool {
	m, ok := l.sources[file]
	return ok && m.lib.pin != nil
}

// locateForeign returns the file of the host that a path in a file of a library means: one of
// its own, or what the user has given, which is relative to the current directory.
func (l *loader) locateForeign(m module, name string) (string, error) {
	if l.given(name) {
		return name, nil
	}
	rest, fromRoot := strings.CutPrefix(name, "//")
	if !fromRoot {
		if filepath.IsAbs(name) {
			return "", fmt.Errorf("%s is no file of the library %s, to whose files it is bound, nor the value of an option that was given", name, m.lib.name)
		}
		rest = path.Join(path.Dir(m.path), name)
	}
	rest = path.Clean(rest)
	if !fs.ValidPath(rest) {
		return "", fmt.Errorf("%q leads out of the library %s, to whose files it is bound", name, m.lib.name)
	}
	file := filepath.Join(m.lib.dir, filepath.FromSlash(rest))
	return file, m.lib.holds(file, name)
}

// holds finds out whether the links on the way to a file lead out of the library. What is not
// there, such as a pattern, is where it would be.
func (t *tree) holds(file, name string) error {
	root, err := filepath.EvalSymlinks(t.dir)
	if err != nil {
		return fmt.Errorf("cannot look into the library %s: %w", t.name, pathCause(err))
	}
	for at := file; ; at = filepath.Dir(at) {
		real, err := filepath.EvalSymlinks(at)
		switch {
		case errors.Is(err, fs.ErrNotExist) && at != t.dir && isDangling(at):
			return fmt.Errorf("%q leads out of the library %s, to whose files it is bound", name, t.name)
		case errors.Is(err, fs.ErrNotExist) && at != t.dir:
			continue
		case err != nil:
			return fmt.Errorf("cannot look for %s in the library %s: %w", name, t.name, pathCause(err))
		case real == root || strings.HasPrefix(real, strings.TrimSuffix(root, "/")+"/"):
			return nil
		}
		return fmt.Errorf("%q leads out of the library %s, to whose files it is bound", name, t.name)
	}
}

// isDangling tells whether a file is a symbolic link, to what is not there.
func isDangling(file string) bool {
	st, err := os.Lstat(file)
	return err == nil && st.Mode()&fs.ModeSymlink != 0
}

// hold makes the store of a run keep the libraries that the recipe has loaded from it, which
// it may have dropped since.
func (l *loader) hold(store *layer.Store) error {
	for _, lib := range l.libraries {
		if lib.pin == nil || lib.pin.Source(l.base) != library.Cached {
			continue
		}
		dir, err := library.Hold(l.ctx, store, *lib.pin, l.shelf)
		if err != nil {
			return fmt.Errorf("cannot use the library %s: %w", lib.name, err)
		}
		lib.dir = dir
	}
	return nil
}

// LibraryText returns the text of a file of a library, such as "@acme//apt.star", for a recipe
// in the current directory.
func LibraryText(ctx context.Context, name string, config Config) (string, error) {
	l := newRecipe(ctx, name, config).loader
	l.base = "."
	m, err := l.resolve(module{}, name)
	if err != nil {
		return "", err
	}
	text, err := m.read()
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", name, pathCause(err))
	}
	return string(text), nil
}
