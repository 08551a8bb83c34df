// Package tree knows whole root file systems as trees of files: it edits them, copies,
// dumps and fingerprints them, writes a layer as an archive, and looks things up in them.
// How a name is resolved inside one is the business of package dirfd, and how one is put
// together and mounted that of package sandbox. It does not know what the files are for.
package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// Look asks a question about the files of a root file system.
type Look struct {
	Op   string // read, exists, glob, readlink, devices
	Path string
}

// Answer is the answer to a Look.
type Answer struct {
	Found bool     // whether Path is there
	Data  []byte   // read: the content; readlink: the text
	Names []string // glob, devices: the paths
}

// maxRead bounds what is read of a file into memory.
const maxRead = 64 << 20

// Answer answers the question.
func (l Look) Answer(root *dirfd.Dir) (Answer, error) {
	switch l.Op {
	case "glob":
		names, err := root.Glob(l.Path)
		return Answer{Found: len(names) > 0, Names: names}, err
	case "devices":
		names, err := deviceNodes(root, l.Path)
		return Answer{Found: len(names) > 0, Names: names}, err
	}
	if !root.Exists(l.Path) {
		return Answer{}, nil
	}
	switch l.Op {
	case "exists":
		return Answer{Found: true}, nil
	case "read":
		data, err := root.ReadFile(l.Path, maxRead)
		return Answer{Found: true, Data: data}, err
	case "readlink":
		text, err := root.Readlink(l.Path)
		if errors.Is(err, unix.EINVAL) { // it is no link
			return Answer{}, nil
		}
		return Answer{Found: true, Data: []byte(text)}, err
	}
	return Answer{}, fmt.Errorf("internal error: unknown question %q", l.Op)
}

// deviceNodes returns the sorted paths of the device nodes at and below a directory. It
// is no error if there is none.
func deviceNodes(root *dirfd.Dir, dir string) ([]string, error) {
	st, err := root.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFBLK, unix.S_IFCHR:
		return []string{clean(dir)}, nil
	case unix.S_IFDIR:
	default:
		return nil, nil
	}
	names, err := root.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, base := range names {
		below, err := deviceNodes(root, path.Join(clean(dir), base))
		if err != nil {
			return nil, err
		}
		found = append(found, below...)
	}
	return found, nil
}

// clean is how messages and answers name a file: absolute, without "." and "..".
func clean(name string) string { return path.Clean("/" + name) }
