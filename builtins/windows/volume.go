package windows

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// The content of a medium, read without mounting it, whichever file system it has. All names
// are read when it is opened: media have thousands of files, not millions.

// sector is the unit in which media are addressed, in bytes.
const sector = 2048

// What no medium needs more of; more is an attempt to use up memory.
const (
	maxEntries = 1 << 20
	maxDepth   = 64
	maxExtents = 1 << 16 // of one file; one is at least a gigabyte where the file is large
)

// A Volume is the content of a medium. It is read-only, and an [fs.FS].
type Volume struct {
	Label string

	file *os.File // nil: it is not one
	r    io.ReaderAt
	size int64
	root *node
	left int // how many further entries are taken
}

var _ fs.ReadDirFS = (*Volume)(nil)

// ErrNoMedium is the cause where a file is no image of a medium.
var ErrNoMedium = errors.New("it is no ISO image: it has neither UDF nor ISO 9660")

// A node is a file or a directory.
type node struct {
	name     string
	dir      bool
	size     int64
	modified time.Time
	extents  []extent
	children []*node // by name
	entry    int64   // where in the image the structure is that says this
}

// An extent is a part of a file.
type extent struct {
	start  int64 // in the image; negative: it is all zeros
	length int64
}

// OpenVolume opens the image of a medium. One with UDF is read as that, since what ISO 9660
// says beside it may be no more than that the other is to be read.
func OpenVolume(name string) (v *Volume, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, ErrNoMedium
	}
	v, err = newVolume(f, st.Size())
	if err == nil {
		v.file = f
	}
	return v, err
}

// newVolume reads what is on a medium.
func newVolume(r io.ReaderAt, size int64) (*Volume, error) {
	v := &Volume{r: r, size: size, left: maxEntries}
	iso, udf := v.recognize()
	switch {
	case udf:
		return v, v.readUDF()
	case iso:
		return v, v.readISO()
	}
	return v, ErrNoMedium
}

// recognize reads the volume recognition sequence (ECMA-167 2/8), in which descriptors of
// ISO 9660 may stand.
func (v *Volume) recognize() (iso, udf bool) {
	for n := int64(16); n < 64; n++ {
		var head [6]byte
		if v.read(head[:], n*sector) != nil {
			break
		}
		switch string(head[1:]) {
		case "CD001":
			iso = true
		case "NSR02", "NSR03":
			udf = true
		case "BEA01", "BOOT2", "TEA01", "CDW02":
		default:
			return iso, udf
		}
	}
	return iso, udf
}

// Close closes the image.
func (v *Volume) Close() error { return v.file.Close() }

// read fills b with what is at an offset of the image.
func (v *Volume) read(b []byte, at int64) error {
	if at < 0 || at > v.size-int64(len(b)) {
		return damaged("it ends before byte %d", at+int64(len(b)))
	}
	_, err := v.r.ReadAt(b, at)
	return err
}

// whole returns the content of a file that is read into memory, a directory.
func (v *Volume) whole(extents []extent, size int64) ([]byte, error) {
	if size > 64<<20 {
		return nil, damaged("a directory of %d bytes", size)
	}
	b := make([]byte, size)
	n, err := (&content{v: v, extents: extents, size: size}).ReadAt(b, 0)
	if err == io.EOF && int64(n) == size {
		err = nil
	}
	return b, err
}

// checked returns the node with a size that its extents have.
func (v *Volume) checked(n *node) error {
	var sum int64
	for _, e := range n.extents {
		if e.length < 0 || e.start > v.size || e.start >= 0 && e.start+e.length > v.size {
			return damaged("%s lies behind its end", n.name)
		}
		sum += e.length
	}
	if n.size < 0 || n.size > sum {
		return damaged("%s is longer than what there is of it", n.name)
	}
	return nil
}

// add gives a directory what is in it. Names that no file can have are refused: whoever
// unpacks the medium must not be led elsewhere. Of two with the same name the first counts.
func (v *Volume) add(dir, child *node) error {
	if child.name == "" || child.name == "." || child.name == ".." || strings.ContainsAny(child.name, "/\x00") {
		return damaged("a file has the name %q", child.name)
	}
	if v.left--; v.left < 0 {
		return damaged("it has more than %d files", maxEntries)
	}
	dir.children = append(dir.children, child)
	return nil
}

// sort puts the names of a directory into their order.
func (n *node) sort() {
	slices.SortStableFunc(n.children, func(a, b *node) int { return strings.Compare(a.name, b.name) })
	n.children = slices.CompactFunc(n.children, func(a, b *node) bool { return a.name == b.name })
}

// find returns the node of a path.
func (v *Volume) find(op, name string) (*node, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	n := v.root
	if name == "." {
		return n, nil
	}
	for _, part := range strings.Split(name, "/") {
		i, ok := slices.BinarySearchFunc(n.children, part, func(n *node, name string) int { return strings.Compare(n.name, name) })
		if !ok {
			return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
		n = n.children[i]
	}
	return n, nil
}

// Open implements fs.FS. Files can be read at any offset.
func (v *Volume) Open(name string) (fs.File, error) {
	n, err := v.find("open", name)
	if err != nil {
		return nil, err
	}
	if n.dir {
		return &directory{node: n}, nil
	}
	c := &content{v: v, extents: n.extents, size: n.size}
	return &file{node: n, SectionReader: io.NewSectionReader(c, 0, n.size)}, nil
}

// ReadDir implements fs.ReadDirFS.
func (v *Volume) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := v.find("readdir", name)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("not a directory")}
	}
	return n.entries(), nil
}

func (n *node) entries() []fs.DirEntry {
	list := make([]fs.DirEntry, len(n.children))
	for i, child := range n.children {
		list[i] = fs.FileInfoToDirEntry(info{child})
	}
	return list
}

// info is a node as an [fs.FileInfo].
type info struct{ *node }

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return i.modified }
func (i info) IsDir() bool        { return i.dir }
func (i info) Sys() any           { return nil }

func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// file is an open file.
type file struct {
	*node
	*io.SectionReader
}

func (f *file) Stat() (fs.FileInfo, error) { return info{f.node}, nil }
func (f *file) Close() error               { return nil }

// directory is an open directory.
type directory struct {
	*node
	next int
}

func (d *directory) Stat() (fs.FileInfo, error) { return info{d.node}, nil }
func (d *directory) Close() error               { return nil }
func (d *directory) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("is a directory")}
}

func (d *directory) ReadDir(n int) ([]fs.DirEntry, error) {
	list := d.entries()[d.next:]
	if n > 0 && len(list) == 0 {
		return nil, io.EOF
	}
	if n > 0 && n < len(list) {
		list = list[:n]
	}
	d.next += len(list)
	return list, nil
}

// content reads a file by its extents.
type content struct {
	v       *Volume
	extents []extent
	size    int64
}

// ReadAt implements io.ReaderAt.
func (c *content) ReadAt(b []byte, at int64) (n int, err error) {
	for _, e := range c.extents {
		if len(b) == 0 {
			return n, nil
		}
		if at >= e.length {
			at -= e.length
			continue
		}
		part := b[:min(int64(len(b)), e.length-at)]
		if e.start < 0 {
			clear(part)
		} else if err := c.v.read(part, e.start+at); err != nil {
			return n, err
		}
		n, b, at = n+len(part), b[len(part):], 0
	}
	if len(b) > 0 {
		return n, io.EOF
	}
	return n, nil
}

// ascii tells whether all names are in ASCII.
func (v *Volume) ascii() bool {
	var only func(n *node) bool
	only = func(n *node) bool {
		for _, child := range n.children {
			if strings.ContainsFunc(child.name, func(r rune) bool { return r > 127 }) || !only(child) {
				return false
			}
		}
		return true
	}
	return only(v.root)
}

// Sizes returns how many files there are and how many bytes they have.
func (v *Volume) Sizes() (files int, bytes int64) {
	var count func(n *node)
	count = func(n *node) {
		for _, child := range n.children {
			count(child)
		}
		if !n.dir {
			files, bytes = files+1, bytes+n.size
		}
	}
	count(v.root)
	return files, bytes
}

// Find returns the path of a file or directory as it is spelt in a file system, whose names
// Windows does not tell apart by case. What is spelt as asked for comes first.
func Find(fsys fs.FS, name string) (string, error) {
	found, err := findIn(fsys, ".", strings.Split(name, "/"))
	if err == nil && found == "" {
		err = &fs.PathError{Op: "find", Path: name, Err: fs.ErrNotExist}
	}
	return found, err
}

// findIn finds a path in a directory; "": there is none.
func findIn(fsys fs.FS, dir string, parts []string) (string, error) {
	if len(parts) == 0 {
		return dir, nil
	}
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return "", fmt.Errorf("cannot read %s: %w", dir, err)
	}
	var names []string
	for _, e := range entries {
		if strings.EqualFold(e.Name(), parts[0]) && (len(parts) == 1 || e.IsDir()) {
			names = append(names, e.Name())
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(rank(a, parts[0]), rank(b, parts[0])) })
	for _, name := range names {
		if found, err := findIn(fsys, path.Join(dir, name), parts[1:]); found != "" || err != nil {
			return found, err
		}
	}
	return "", nil
}

func rank(name, asked string) int {
	if name == asked {
		return 0
	}
	return 1
}
