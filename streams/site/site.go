// Package site is the directory that an image server serves, as the tool works on it:
// through one open handle, under a lock, with files that appear as a whole and catalogs
// that change all at once. Nothing in it, a symbolic link, a name from a catalog or
// whoever may upload, can make the tool read, write or remove anything elsewhere.
//
// What the files mean, which are images and which of them are listed, is no concern of
// the package. How one works below an open directory is that of package dirfd.
package site

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"sync"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// Directories of the tool's own below the root.
const (
	MetaDir  = "streams"        // of the catalogs, by stream version
	StateDir = "streams/.state" // of what the tool remembers; all of it can be lost without harm
)

// Modes of what the tool makes, whatever the umask: a web server has to read it.
const (
	FileMode = 0o644
	DirMode  = 0o755
)

// Files are those of a site. Names are relative to its root, with slashes. Reading follows
// no symbolic link or, with Links, those that stay inside; changes follow none.
type Files struct {
	*dirfd.Dir
	Root  string // as the user gave it, for messages
	Links bool

	chunks sync.Pool // of Hash
}

// Open opens the root directory of a site.
func Open(root string, links bool) (*Files, error) {
	policy := dirfd.Refuse
	if links {
		policy = dirfd.Beneath
	}
	dir, err := dirfd.Open(root, policy)
	if err != nil {
		return nil, err
	}
	return &Files{Dir: dir, Root: root, Links: links}, nil
}

// Open opens an existing file for reading. It does not wait for the other end of a named
// pipe.
func (f *Files) Open(name string) (*os.File, error) {
	return f.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
}

// ErrNotRegular is part of the error of what is there, but as a device, a pipe or the like.
var ErrNotRegular = errors.New("not a regular file")

// OpenRegular is Open for what has to be a regular file. Anything else is not even opened,
// which may have an effect, unless it takes the place of a file in this moment.
func (f *Files) OpenRegular(name string) (*os.File, error) {
	if st, err := f.StatFile(name); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG && st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return nil, &fs.PathError{Op: "open", Path: name, Err: ErrNotRegular}
	}
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	if st, err := file.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(&fs.PathError{Op: "open", Path: name, Err: cmp.Or(err, ErrNotRegular)}, file.Close())
	}
	return file, nil
}

// maxSmall bounds what is read of a file into memory as a whole.
const maxSmall = 4 << 20

// ReadSmall returns the content of a small regular file.
func (f *Files) ReadSmall(name string) ([]byte, error) { return f.ReadFile(name, maxSmall) }

// StatFile describes a file as Open opens it: what a link stands for, where links are
// followed.
func (f *Files) StatFile(name string) (unix.Stat_t, error) {
	if f.Links {
		return f.Stat(name)
	}
	return f.Lstat(name)
}

// Write makes a new file with what fill writes, and makes it durable.
func (f *Files) Write(name string, fill func(*bufio.Writer) error) error {
	return f.WriteFile(name, FileMode, fill)
}

// Replace writes a file so that it is there as a whole, old or new, at any time.
func (f *Files) Replace(name string, fill func(*bufio.Writer) error) error {
	return f.Dir.Replace(name, FileMode, fill)
}

// SyncUp makes the names in a directory and in those above it durable.
func (f *Files) SyncUp(dir string) error {
	for {
		if err := f.Sync(dir); err != nil || dir == "." {
			return err
		}
		dir = path.Dir(dir)
	}
}

// maxState bounds what is read of the tool's own files; a million versions need less.
const maxState = 1 << 30

// ReadState reads a file of the tool's own, nil if it cannot be read: whatever is in one,
// it can be lost without harm.
func (f *Files) ReadState(name string) []byte {
	data, err := f.ReadFile(name, maxState)
	if err != nil {
		return nil
	}
	return data
}

// WriteState writes a file of the tool's own as JSON.
func (f *Files) WriteState(name string, value any) error {
	return f.Replace(name, func(w *bufio.Writer) error { return json.NewEncoder(w).Encode(value) })
}
