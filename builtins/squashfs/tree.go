package squashfs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// What a tree is made of, without content. A million files are to fit into little memory: a
// node is small and has no pointers, and what few nodes have is kept apart.

// A node is a file of any kind under one of its names.
type node struct {
	name   uint32 // where it begins among the names
	parent uint32
	mtime  uint32
	detail uint32 // of a regular file: its number among pieces or, with the bit large, others; of a device: what it is
	at     uint32 // where its inode is in the table, once it is written
	mode   uint16 // with the type
	uid    uint16 // places in the list of owners
	gid    uint16
	length uint16 // of the name
}

// large is the bit of a node's detail that tells a file of a block or more.
const large = 1 << 31

// maxFiles leaves room for the bit.
const maxFiles = large - 1

// A tree is the nodes in the order of the walk, a directory before what is in it, and names
// in the order of their bytes.
type tree struct {
	root  *dirfd.Dir
	nodes chunked[node]
	names arena
	small chunked[piece]
	large chunked[file]

	owners  []uint32
	ownerAt map[uint32]uint16
	same    map[uint32]uint32 // further names of a file: its first node
	links   map[uint32]uint32 // how many names a file has, if there are several
	again   []uint32          // the nodes of same, in order
	targets map[uint32]string // of symbolic links
	attrs   attributes
	now     time.Time // when the walk began
	before  past
	looks   looks  // of small files
	latest  uint32 // time of any node

	largeLooks looks

	lost      []string
	lostCount int
}

// maxNamed is how many files are named where there may be any number.
const maxNamed = 5

// readTree walks over a tree.
func readTree(ctx context.Context, root *dirfd.Dir, o Options) (*tree, error) {
	t := &tree{
		root: root, now: time.Now(), before: recall(o), ownerAt: make(map[uint32]uint16), same: make(map[uint32]uint32), links: make(map[uint32]uint32),
		targets: make(map[uint32]string), attrs: attributes{of: make(map[uint32]uint32), ids: make(map[string]uint32)},
	}
	first := make(map[[2]uint64]uint32) // of files with several links
	var parents []uint32                // by depth
	err := root.Scan(".", func(at dirfd.At, st *unix.Stat_t) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		i := uint32(t.nodes.len())
		parent := i
		if at.Depth > 0 {
			parent = parents[at.Depth-1]
		}
		parents = append(parents[:at.Depth], i)
		if err := t.add(at, st, parent, o); err != nil {
			return fmt.Errorf("cannot read %s: %w", shown(at.Name), err)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFDIR || st.Nlink < 2 {
			return nil
		}
		id := [2]uint64{st.Dev, st.Ino}
		if before, ok := first[id]; ok {
			t.same[i], t.again = before, append(t.again, i)
			t.links[before] = max(t.links[before], 1) + 1
		} else {
			first[id] = i
		}
		return nil
	})
	return t, err
}

// shown is how messages name a file.
func shown(name string) string { return "/" + strings.TrimPrefix(name, "./") }

// add adds the node of a file.
func (t *tree) add(at dirfd.At, st *unix.Stat_t, parent uint32, o Options) error {
	if len(at.Base) > maxNameLength {
		return fmt.Errorf("squashfs holds no name of more than %d bytes", maxNameLength)
	}
	i := uint32(t.nodes.len())
	n := node{length: uint16(len(at.Base)), parent: parent, mode: uint16(st.Mode), mtime: clamp(st.Mtim.Sec, o.Epoch)}
	var fits bool
	if n.name, fits = t.names.add(at.Base); !fits || t.nodes.len() == maxFiles {
		return errors.New("squashfs holds no more files than those before it")
	}
	t.latest = max(t.latest, n.mtime)
	var err, other error
	n.uid, err = t.owner(st.Uid)
	n.gid, other = t.owner(st.Gid)
	if err = errors.Join(err, other); err != nil {
		return err
	}
	known := false // that it has no attributes
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		if st.Size > int64(maxBlocks)*int64(o.BlockSize) {
			return fmt.Errorf("it has %d bytes, and squashfs holds no more than %d in blocks of %d", st.Size, int64(maxBlocks)*int64(o.BlockSize), o.BlockSize)
		}
		if st.Size < int64(o.BlockSize) {
			n.detail = uint32(t.small.len())
			t.small.add(piece{size: uint32(st.Size), node: i, fragment: nothing})
			_, known = t.before.piece(t.looks.add(st, t.now), uint32(st.Size))
		} else {
			n.detail = uint32(t.large.len()) | large
			t.large.add(file{size: st.Size, node: i})
			_, known = t.before.file(t.largeLooks.add(st, t.now), st.Size)
		}
	case unix.S_IFLNK:
		target, err := os.Readlink(at.ProcPath())
		if err != nil {
			return cause(err)
		}
		t.targets[i] = target
	case unix.S_IFBLK, unix.S_IFCHR:
		major, minor := unix.Major(st.Rdev), unix.Minor(st.Rdev)
		if major > 0xfff || minor > 0xfffff {
			return fmt.Errorf("squashfs holds no device %d:%d", major, minor)
		}
		n.detail = minor&0xff | major<<8 | minor&^0xff<<12
	}
	t.nodes.add(n)
	if known {
		return nil
	}
	lost, err := t.attrs.read(at.ProcPath(), i)
	if lost {
		t.looksOf(&n).forget(n.detail &^ large)
		t.lostCount++
		if len(t.lost) < maxNamed {
			t.lost = append(t.lost, shown(at.Name))
		}
	}
	return err
}

// looksOf returns the looks that those of a regular file are among.
func (t *tree) looksOf(n *node) looks {
	switch {
	case n.mode&unix.S_IFMT != unix.S_IFREG:
		return nil
	case n.detail&large != 0:
		return t.largeLooks
	}
	return t.looks
}

// cause leaves out the path of this machine.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// clamp is a time as the format has it, which none later than an epoch is.
func clamp(seconds int64, epoch *int64) uint32 {
	if epoch != nil {
		seconds = min(seconds, *epoch)
	}
	return uint32(min(max(seconds, 0), math.MaxUint32))
}

// owner returns the place of a user or group in the list.
func (t *tree) owner(id uint32) (uint16, error) {
	at, ok := t.ownerAt[id]
	if ok {
		return at, nil
	}
	if len(t.owners) == maxOwners {
		return 0, fmt.Errorf("squashfs holds no more than %d users and groups", maxOwners)
	}
	at = uint16(len(t.owners))
	t.owners, t.ownerAt[id] = append(t.owners, id), at
	return at, nil
}

// name is what a node is called in its directory.
func (t *tree) name(n *node) string { return t.names.get(n.name, n.length) }

// path is how messages name a node.
func (t *tree) path(i uint32) string {
	var names []string
	for i != 0 {
		n := t.nodes.at(i)
		names = append(names, t.name(n))
		i = n.parent
	}
	var path strings.Builder
	for k := len(names) - 1; k >= 0; k-- {
		path.WriteString("/" + names[k])
	}
	if path.Len() == 0 {
		return "/"
	}
	return path.String()
}

// arena keeps names.
type arena struct{ chunks [][]byte }

const arenaChunk = 64 << 10

// add returns where a name is kept, and whether there was room: 4 GiB are.
func (a *arena) add(name string) (uint32, bool) {
	last := len(a.chunks) - 1
	if last < 0 || len(a.chunks[last])+len(name) > arenaChunk {
		if last++; last == 1<<32/arenaChunk {
			return 0, false
		}
		a.chunks = append(a.chunks, make([]byte, 0, arenaChunk))
	}
	at := last*arenaChunk + len(a.chunks[last])
	a.chunks[last] = append(a.chunks[last], name...)
	return uint32(at), true
}

func (a *arena) get(at uint32, length uint16) string {
	return string(a.chunks[at/arenaChunk][at%arenaChunk:][:length])
}

// chunked is a list that grows without being copied.
type chunked[T any] struct {
	chunks [][]T
	n      int
}

const chunk = 8192

func (c *chunked[T]) len() int { return c.n }

func (c *chunked[T]) add(v T) {
	if c.n%chunk == 0 {
		c.chunks = append(c.chunks, make([]T, 0, min(chunk, max(64, c.n))))
	}
	last := &c.chunks[len(c.chunks)-1]
	*last = append(*last, v)
	c.n++
}

func (c *chunked[T]) at(i uint32) *T { return &c.chunks[i/chunk][i%chunk] }
