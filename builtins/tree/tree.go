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
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/xattr"
)

// Look asks a question about the files of a root file system.
type Look struct {
	Op   string // read, exists, glob, readlink, devices, acls, filled
	Path string // of filled: patterns, one on each line
}

// Answer is the answer to a Look.
type Answer struct {
	Found bool     // whether Path is there
	Other bool     // read: there is something that is no regular file
	Data  []byte   // read: the content; readlink: the text
	Names []string // glob, devices, acls: the paths
}

// maxRead bounds what is read of a file into memory.
const maxRead = 64 << 20

// Answer answers the question.
func (l Look) Answer(root *dirfd.Dir) (Answer, error) {
	switch l.Op {
	case "glob":
		names, err := root.Glob(l.Path)
		return Answer{Found: len(names) > 0, Names: names}, err
	case "filled":
		names, err := filled(root, strings.Split(l.Path, "\n"))
		return Answer{Found: len(names) > 0, Names: names}, err
	case "devices", "acls":
		is := isDevice
		if l.Op == "acls" {
			is = hasACL
		}
		names, err := filesThat(root, l.Path, is)
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
		if errors.Is(err, dirfd.ErrNotRegular) {
			return Answer{Other: true}, nil
		}
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

// filled returns the regular files with content that match one of several patterns.
func filled(root *dirfd.Dir, patterns []string) ([]string, error) {
	var found []string
	for _, pattern := range patterns {
		names, err := root.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			st, err := root.Lstat(name)
			if err != nil {
				return nil, err
			}
			if st.Mode&unix.S_IFMT == unix.S_IFREG && st.Size > 0 {
				found = append(found, name)
			}
		}
	}
	return found, nil
}

// filesThat returns the sorted paths of the files at and below a directory that are what
// is asked for. It is no error if there is no such directory.
func filesThat(root *dirfd.Dir, dir string, is func(*dirfd.Dir, string, unix.Stat_t) (bool, error)) ([]string, error) {
	st, err := root.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []string
	if yes, err := is(root, dir, st); err != nil {
		return nil, err
	} else if yes {
		found = append(found, clean(dir))
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return found, nil
	}
	names, err := root.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, base := range names {
		below, err := filesThat(root, path.Join(clean(dir), base), is)
		if err != nil {
			return nil, err
		}
		found = append(found, below...)
	}
	return found, nil
}

// isDevice tells a device node.
func isDevice(_ *dirfd.Dir, _ string, st unix.Stat_t) (bool, error) {
	return ofDevice(st.Mode), nil
}

// hasACL tells a file that has an access control list besides its mode.
func hasACL(root *dirfd.Dir, name string, st unix.Stat_t) (has bool, err error) {
	if st.Mode&unix.S_IFMT == unix.S_IFLNK { // which cannot have one
		return false, nil
	}
	err = root.ProcPath("listxattr", name, func(file string) error {
		names, err := xattr.List(file)
		has = slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "system.posix_acl_") })
		return err
	})
	return has, err
}

// clean is how messages and answers name a file: absolute, without "." and "..".
func clean(name string) string { return path.Clean("/" + name) }
