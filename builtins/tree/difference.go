package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/xattr"
)

// A Difference is a path at which two trees are not alike.
type Difference struct {
	Path     string
	Old, New *Entry   // nil: there is none
	Kinds    []string // of [Kinds], in which the two differ
	Offset   int64    // of the first byte of content that is another
}

// An Entry is what is at a path.
type Entry struct {
	Type       string // file, directory, link, fifo, socket, char, block
	Mode       uint32 // without the type
	UID, GID   uint32
	Size       int64 // of a regular file
	Time       time.Time
	Link       string // text of a link
	Hard       string // the path of which this is another name
	Device     string // numbers of a device, such as 1:3
	Attributes map[string]string
}

const regular = "file"

// typeNames are what files are called by their type.
var typeNames = map[uint32]string{
	unix.S_IFREG: regular, unix.S_IFDIR: "directory", unix.S_IFLNK: "link", unix.S_IFIFO: "fifo",
	unix.S_IFSOCK: "socket", unix.S_IFCHR: "char", unix.S_IFBLK: "block",
}

// entry looks at the file that a side has come to.
func (s *side) entry() (e Entry, err error) {
	st := s.st
	kind := st.Mode & unix.S_IFMT
	e = Entry{
		Type: typeNames[kind], Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid,
		Time: time.Unix(st.Mtim.Unix()).UTC(), Hard: s.first,
	}
	switch kind {
	case unix.S_IFREG:
		e.Size = st.Size
	case unix.S_IFLNK:
		if e.Link, err = s.dir.Readlink(s.at.Name); err != nil {
			return e, err
		}
	case unix.S_IFCHR, unix.S_IFBLK:
		e.Device = fmt.Sprintf("%d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev)))
	}
	e.Attributes, err = attributes(s.at.ProcPath())
	if err != nil {
		return e, fmt.Errorf("cannot read the attributes of %s: %w", s.shown, err)
	}
	return e, nil
}

// attributes returns the extended attributes of a file, by their names.
func attributes(file string) (map[string]string, error) {
	names, err := xattr.List(file)
	if err != nil || len(names) == 0 {
		return nil, err
	}
	all := make(map[string]string)
	for _, name := range names {
		value, err := xattr.Get(file, name)
		if err != nil {
			return nil, err
		}
		all[name] = string(value)
	}
	return all, nil
}

// content returns where the contents of two regular files begin to differ.
func (c *Comparison) content(old, new *side) (offset int64, differ bool, err error) {
	a, err := old.content()
	if err != nil {
		return 0, false, err
	}
	defer a.Close()
	b, err := new.content()
	if err != nil {
		return 0, false, err
	}
	defer b.Close()
	return c.firstDifference(a, b)
}

// content opens the regular file that a side has come to. What has become another kind of
// file meanwhile is not waited for.
func (s *side) content() (*os.File, error) {
	f, err := s.dir.OpenFile(s.at.Name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(err, fmt.Errorf("%s has changed while it was compared", s.shown))
	}
	return f, nil
}

func (c *Comparison) firstDifference(a, b io.Reader) (offset int64, differ bool, err error) {
	if c.buffers[0] == nil { // once: those of each file would be much of the time
		c.buffers = [2][]byte{make([]byte, 256<<10), make([]byte, 256<<10)}
	}
	left, right := c.buffers[0], c.buffers[1]
	for {
		n, err := io.ReadFull(a, left)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return 0, false, err
		}
		m, err := io.ReadFull(b, right)
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return 0, false, err
		}
		if !bytes.Equal(left[:n], right[:m]) {
			for i := range min(n, m) {
				if left[i] != right[i] {
					return offset + int64(i), true, nil
				}
			}
			return offset + int64(min(n, m)), true, nil
		}
		if n < len(left) {
			return 0, false, nil
		}
		offset += int64(n)
	}
}
