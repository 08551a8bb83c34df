package squashfs

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// The index of an image says where its blocks are, for images made later. It is
//
//	magic, a line
//	parameters, a line
//	size of a block, uint32
//	records in the order of their keys: key, place uint64, word uint32, first 8 bytes of the
//	SHA-256 of what is stored
//	SHA-256 of all that
//
// with numbers in little endian. All blocks are checked when they are copied, so an image
// that was changed is of no use, but does no harm.

const indexMagic = "imagebuilder squashfs blocks 2"

const recordSize = sha256.Size + 8 + 4 + len(check{})

// A check is the begin of a SHA-256, which is enough to tell what was damaged: an attacker
// could change the index as well.
type check [8]byte

func checkOf(data []byte) check {
	sum := sha256.Sum256(data)
	return check(sum[:])
}

// A record is a block of an image.
type record struct {
	key
	place
}

type index struct {
	params  string
	size    int
	records []record
}

// WriteIndex writes the index of the image.
func (r *Result) WriteIndex(w io.Writer) error {
	records := slices.SortedFunc(slices.Values(r.index.records), func(a, b record) int { return bytes.Compare(a.key[:], b.key[:]) })
	h := sha256.New()
	out := bufio.NewWriter(io.MultiWriter(w, h))
	fmt.Fprintf(out, "%s\n%s\n", indexMagic, r.index.params)
	out.Write(binary.LittleEndian.AppendUint32(nil, uint32(r.index.size)))
	for _, b := range records {
		out.Write(b.key[:])
		out.Write(binary.LittleEndian.AppendUint64(nil, uint64(b.at)))
		out.Write(binary.LittleEndian.AppendUint32(nil, b.word))
		out.Write(b.check[:])
	}
	if err := out.Flush(); err != nil {
		return err
	}
	_, err := w.Write(h.Sum(nil))
	return err
}

// Made is an image that was made before, and its index. It is to stay what it is as long as
// it is used.
type Made struct {
	Name  string // for messages
	Image io.ReaderAt
	Index io.ReaderAt

	used bool
}

// Used tells whether blocks were taken from it.
func (m *Made) Used() bool { return m.used }

// maxIndex bounds the size of an index that is read: a million blocks and more.
const maxIndex = 64 << 20

var errIndex = errors.New("its index is damaged")

// read returns the blocks of an image, none if they were made with other parameters.
func (m *Made) read(params string, size int) ([]record, error) {
	data, err := io.ReadAll(io.NewSectionReader(m.Index, 0, maxIndex))
	if err != nil {
		return nil, fmt.Errorf("cannot use the blocks of %s: %w", m.Name, err)
	}
	records, err := parseIndex(data, params, size)
	if err != nil {
		return nil, fmt.Errorf("cannot use the blocks of %s: %w", m.Name, err)
	}
	return records, nil
}

// Shared counts the blocks of images: how many there are, and of how many bytes as they are
// stored, and how many of these one image has besides another, so that they were compressed
// once.
type Shared struct {
	Images, Blocks, Again int
	Size, AgainSize       int64

	seen map[key]bool
}

// Add counts the blocks of an image, however they were made. An index that is damaged is an
// error.
func (s *Shared) Add(r io.Reader) error {
	data, err := io.ReadAll(io.LimitReader(r, maxIndex))
	if err != nil {
		return err
	}
	lines := bytes.SplitN(data, []byte("\n"), 3)
	if len(lines) < 3 || len(lines[2]) < 4 {
		return errIndex
	}
	records, err := parseIndex(data, string(lines[1]), int(binary.LittleEndian.Uint32(lines[2])))
	if err != nil {
		return err
	}
	s.Images++
	for _, r := range records {
		s.Count(sha256.Sum256(append(lines[1], r.key[:]...)), int64(r.word&^stored))
	}
	return nil
}

// Count counts a block of an image by what tells it from others.
func (s *Shared) Count(block [sha256.Size]byte, size int64) {
	if s.seen[block] {
		s.Again, s.AgainSize = s.Again+1, s.AgainSize+size
		return
	}
	if s.seen == nil {
		s.seen = make(map[key]bool)
	}
	s.seen[block] = true
	s.Blocks, s.Size = s.Blocks+1, s.Size+size
}

func parseIndex(data []byte, params string, size int) ([]record, error) {
	if len(data) < sha256.Size {
		return nil, errIndex
	}
	data, sum := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	if now := sha256.Sum256(data); string(now[:]) != string(sum) {
		return nil, errIndex
	}
	head := fmt.Appendf(nil, "%s\n%s\n", indexMagic, params)
	head = binary.LittleEndian.AppendUint32(head, uint32(size))
	rest, ok := bytes.CutPrefix(data, head)
	if !ok {
		return nil, nil
	}
	if len(rest)%recordSize != 0 {
		return nil, errIndex
	}
	records := make([]record, 0, len(rest)/recordSize)
	for ; len(rest) > 0; rest = rest[recordSize:] {
		var r record
		next := rest[copy(r.key[:], rest):]
		r.at = int64(binary.LittleEndian.Uint64(next))
		r.word = binary.LittleEndian.Uint32(next[8:])
		copy(r.check[:], next[12:])
		if r.word&^stored > uint32(size) || r.at < superblockSize {
			return nil, errIndex
		}
		records = append(records, r)
	}
	return records, nil
}

// block reads a block as it is stored.
func (m *Made) block(p place, data []byte) error {
	_, err := m.Image.ReadAt(data, p.at)
	if err == nil && checkOf(data) != p.check {
		err = errors.New("it is not what was written")
	}
	if err != nil {
		return fmt.Errorf("cannot use a block of %s: %w", m.Name, err)
	}
	return nil
}
