package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"imagebuilder/recipes"
)

// Where the text of a recipe comes from. Only the user's own words lead outside of a
// library.

// main returns the module of a recipe given as a path, "-" for standard input, the name of
// an embedded one, or as a file of a library, such as "@acme//x.star", and its text, nil where
// the library of the module has it. It is the user who names the recipe: no library bounds
// where a link may lead.
func (l *loader) main(name string, stdin io.Reader) (m module, text []byte, err error) {
	if strings.HasPrefix(name, "@") && strings.Contains(name, "//") {
		l.base = "."
		m, err := l.resolve(module{}, name)
		return m, nil, err
	}
	if name == "-" {
		return l.stream("<stdin>", "standard input", func() ([]byte, error) { return io.ReadAll(stdin) })
	}
	if isName(name) {
		if _, err := fs.Stat(recipes.FS, name+".star"); err == nil {
			return module{l.libraries["@recipes"], name + ".star"}, nil, nil
		}
		if _, err := os.Stat(name); err != nil {
			return m, nil, fmt.Errorf("there is no recipe %q; 'imagebuilder recipes' lists those that come with the tool", name)
		}
	}
	st, err := os.Stat(name)
	if err != nil {
		return m, nil, fmt.Errorf("cannot read %s: %w", name, pathCause(err))
	}
	read := func() ([]byte, error) { return os.ReadFile(name) }
	switch st.Mode().Type() {
	case 0:
		if st.Size() > maxFile {
			return m, nil, fmt.Errorf("cannot read %s: %w", name, errLargeFile)
		}
	case fs.ModeNamedPipe, fs.ModeDevice | fs.ModeCharDevice: // such as /dev/fd/63 and /dev/stdin
		return l.stream(filepath.Base(name), name, read)
	default:
		return m, nil, fmt.Errorf("cannot read %s: %w", name, errNoFile)
	}
	if text, err = read(); err != nil {
		return m, nil, fmt.Errorf("cannot read %s: %w", name, pathCause(err))
	}
	lib, err := l.open(filepath.Dir(name))
	return module{lib, filepath.Base(name)}, text, err
}

// stream returns a recipe that is read until its writer ends it, or the context does. Its
// paths are relative to the current directory.
func (l *loader) stream(path, what string, read func() ([]byte, error)) (m module, text []byte, err error) {
	done := make(chan struct{})
	var got []byte
	var failed error
	go func() {
		defer close(done)
		got, failed = read()
	}()
	select {
	case <-done:
	case <-l.ctx.Done(): // nothing ends the read: it is left behind
		return m, nil, context.Cause(l.ctx)
	}
	if failed == nil && len(got) > maxFile {
		failed = errLargeFile
	}
	if failed != nil {
		return m, nil, fmt.Errorf("cannot read the recipe from %s: %w", what, pathCause(failed))
	}
	lib, err := l.open(".")
	return module{lib, path}, got, err
}

// isName tells the name of an embedded recipe from a path.
func isName(name string) bool { return !strings.ContainsAny(name, "/.") }

// open makes a directory the recipe's own library. Its files are read through an
// os.Root, which no link leads out of.
func (l *loader) open(dir string) (*tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot open the directory of the recipe: %w", err)
	}
	l.base = dir
	return &tree{files: root.FS(), dir: dir}, nil
}

var errNoFile = errors.New("it is not a regular file")

// maxFile is how long a file of Starlark may be: of much longer ones an expression may be nested
// deeper than the stack of the interpreter.
const maxFile = 2 << 20

var errLargeFile = errors.New("it is larger than 2 MiB, which is no recipe: what it knows can be data that it downloads")

// read returns the text of a file of a library. Others than regular ones may have no end.
func (m module) read() ([]byte, error) {
	st, err := fs.Stat(m.lib.files, m.path)
	if err == nil && !st.Mode().IsRegular() {
		err = errNoFile
	}
	if err == nil && st.Size() > maxFile {
		err = errLargeFile
	}
	if err != nil {
		return nil, err
	}
	return fs.ReadFile(m.lib.files, m.path)
}

func pathCause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}
