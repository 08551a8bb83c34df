package layer

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/tree"
)

// A damaged layer would make a wrong image, and reading all layers of a build would take
// longer than the build. So each is looked at when a run first uses it, by one call of the
// kernel for each file, and only one that something was done to is read.

// A Shape is what can be seen of a layer without reading its files.
type Shape struct {
	Files int    `json:"files"` // of all kinds
	Size  int64  `json:"size"`  // of all content, in bytes
	Looks string `json:"looks"` // digest of names, kinds, modes, owners, sizes and times

	// Changed is when anything was last changed, by the file system's own clock, which no
	// program can set.
	Changed int64 `json:"changed"`
}

// measured is what one walk over a result finds.
type measured struct {
	Shape
	disk   int64 // bytes on disk, those of a hard-linked file once
	linked map[[2]uint64]bool
}

// measure walks over a result.
func measure(data *dirfd.Dir) (measured, error) {
	m := measured{linked: make(map[[2]uint64]bool)}
	h := sha256.New()
	w := bufio.NewWriterSize(h, 64<<10)
	var line []byte
	err := data.Walk(".", func(name string, st *unix.Stat_t) error {
		m.Files++
		dir := st.Mode&unix.S_IFMT == unix.S_IFDIR
		id := [2]uint64{st.Dev, st.Ino}
		if !m.linked[id] {
			m.disk += st.Blocks * 512
		}
		if st.Nlink > 1 && !dir {
			m.linked[id] = true
		}
		size := st.Size
		if dir { // which is the file system's business
			size = 0
		}
		m.Size += size
		m.Changed = max(m.Changed, st.Ctim.Nano())
		line = append(append(line[:0], name...), 0)
		for _, v := range []int64{int64(st.Mode), int64(st.Uid), int64(st.Gid), int64(st.Rdev), size, st.Mtim.Nano()} {
			line = binary.AppendVarint(line, v)
		}
		_, err := w.Write(line)
		return err
	})
	err = errors.Join(err, w.Flush())
	m.Looks = digest.Of(h).String()
	return m, err
}

// differs says how a layer looks now that looked otherwise when it was stored.
func (s Shape) differs(now Shape) error {
	switch {
	case now.Files != s.Files:
		return fmt.Errorf("it holds %d files, not %d", now.Files, s.Files)
	case now.Size != s.Size:
		return fmt.Errorf("it holds %d bytes, not %d", now.Size, s.Size)
	case now.Looks != s.Looks:
		return errors.New("names, modes, owners or times of its files are others than when it was stored")
	}
	return nil
}

// errOther is what reading a layer can tell and looking at it cannot.
var errOther = errors.New("its files have other content or attributes than when it was stored")

// identify returns what a layer is known by, for which it is read.
func identify(data *dirfd.Dir) (string, error) {
	h := digest.NewStream()
	err := tree.WriteArchive(h, data)
	return h.Sum().String(), err
}

// sameLayer finds out whether a layer still is what was stored, once in a run. One that was
// changed since, if only by being copied, is read; its description says from then on that
// it is right.
func (s *Store) sameLayer(place string, meta Meta) error {
	s.mu.Lock()
	known := s.whole[place]
	s.mu.Unlock()
	if known || meta.Shape == nil { // an earlier version has stored it
		return nil
	}
	data, err := s.openData(place)
	if err != nil {
		return err
	}
	defer data.Close()
	now, err := measure(data)
	if err == nil {
		err = meta.Shape.differs(now.Shape)
	}
	if err == nil && now.Changed != meta.Shape.Changed {
		err = s.reread(data, place, meta, now.Shape)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.whole[place] = true
	return nil
}

// reread reads a layer that was changed.
func (s *Store) reread(data *dirfd.Dir, place string, meta Meta, now Shape) error {
	id, err := identify(data)
	if err != nil {
		return err
	}
	if id != meta.ID {
		return errOther
	}
	meta.Shape = &now
	text, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	return s.edit(meta.Key+".meta", func() error { // others may have found the same
		return s.root.Replace(path.Join(place, "meta.json"), 0o600, dirfd.Bytes(text))
	})
}

// openData opens what a result holds.
func (s *Store) openData(place string) (*dirfd.Dir, error) {
	f, err := s.root.OpenFile(path.Join(place, "data"), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return dirfd.New(f, dirfd.InRoot), nil
}
