package streams

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"

	"imagebuilder/builtins/digest"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/site"
)

// The side cache of a stream remembers what was found in it: stamps, hashes and
// judgements. It only saves work. One that is missing, damaged or of another
// format is as good as empty, and an entry counts only as long as size, time and
// inode of the file are what they were.

// cacheMagic is changed whenever the format or the meaning of what is kept is.
const cacheMagic = "imagebuilder streams cache 1\n"

// errCache says that a cache cannot be used; why does not matter to anyone.
var errCache = errors.New("not a cache")

// A cacheID tells one state of a cache from any other.
type cacheID = digest.Digest

// A cache is what is remembered of a stream.
type cache struct {
	id       cacheID
	upstream bool // the classes and verdicts are the old tool's
	products []*product
}

// encode writes the cache and returns its id.
func (c *cache) encode(w *bufio.Writer) (cacheID, error) {
	hash := sha256.New()
	e := &encoder{w: bufio.NewWriterSize(io.MultiWriter(w, hash), 64<<10)}
	e.text(cacheMagic)
	e.bool(c.upstream)
	e.counts(c.products)
	for _, p := range c.products {
		e.product(p)
	}
	if err := e.w.Flush(); err != nil {
		return cacheID{}, err
	}
	id := cacheID(hash.Sum(nil))
	_, err := w.Write(id[:])
	return id, err
}

// An encoder writes the parts. Errors stay in the writer below until Flush.
type encoder struct {
	w   *bufio.Writer
	buf [binary.MaxVarintLen64]byte
}

func (e *encoder) uint(n uint64)          { e.w.Write(binary.AppendUvarint(e.buf[:0], n)) }
func (e *encoder) int(n int64)            { e.w.Write(binary.AppendVarint(e.buf[:0], n)) }
func (e *encoder) digest(d digest.Digest) { e.w.Write(d[:]) }

func (e *encoder) text(s string) {
	e.uint(uint64(len(s)))
	e.w.WriteString(s)
}

func (e *encoder) bool(b bool) {
	n := uint64(0)
	if b {
		n = 1
	}
	e.uint(n)
}

func (e *encoder) stamp(s site.Stamp) {
	e.int(s.Size)
	e.int(s.Mtime)
	e.uint(s.Ino)
}

// counts come first, so that the reader can make room for everything at once.
func (e *encoder) counts(products []*product) {
	var c counts
	for _, p := range products {
		c.versions += len(p.versions)
		for _, v := range p.versions {
			c.files += len(v.files)
			c.decisions += len(v.deltas)
		}
	}
	e.uint(uint64(len(products)))
	e.uint(uint64(c.versions))
	e.uint(uint64(c.files))
	e.uint(uint64(c.decisions))
}

type counts struct{ versions, files, decisions int }

func (e *encoder) product(p *product) {
	e.text(p.place.Product.ID())
	e.uint(uint64(len(p.levels)))
	for _, l := range p.levels {
		e.text(l.path)
		e.stamp(l.stamp)
		e.bool(l.settled)
	}
	e.uint(uint64(len(p.versions)))
	for _, v := range p.versions {
		e.version(v)
	}
}

func (e *encoder) version(v *version) {
	e.text(v.name)
	e.stamp(v.dir)
	e.bool(v.complete)
	e.uint(uint64(v.verdict))
	e.text(v.item)
	e.text(v.trouble)
	e.bool(v.pending)
	e.uint(uint64(len(v.files)))
	for i := range v.files {
		e.file(&v.files[i])
	}
	e.uint(uint64(len(v.deltas)))
	for _, d := range v.deltas {
		e.text(d.name)
		e.digest(d.key)
		e.bool(d.kept)
	}
}

func (e *encoder) file(f *file) {
	e.text(f.name)
	e.stamp(f.stamp)
	e.uint(uint64(f.class))
	e.bool(f.settled)
	e.bool(f.hashed)
	if f.hashed {
		e.digest(f.sum)
	}
	e.bool(f.joint != nil)
	if f.joint != nil {
		e.digest(f.joint[0])
		e.digest(f.joint[1])
	}
}

// decodeCache reads the cache of a stream. Its strings and slices share a few large blocks of
// memory, since a large tree has hundreds of thousands of files.
func decodeCache(data []byte, stream string) (*cache, error) {
	body := len(data) - sha256.Size
	if body < 0 {
		return nil, errCache
	}
	c := &cache{id: sha256.Sum256(data[:body])}
	if !bytes.Equal(c.id[:], data[body:]) {
		return nil, errCache
	}
	d := &decoder{stream: stream, rest: data[:body], names: map[string]string{}}
	if d.text() != cacheMagic {
		return nil, errCache
	}
	c.upstream = d.bool()
	c.products = d.products()
	if d.bad || len(d.rest) > 0 {
		return nil, errCache
	}
	return c, nil
}

// A decoder takes the parts off the front. After a fault it is bad for good and
// gives zero values.
type decoder struct {
	stream string
	rest   []byte
	bad    bool
	names  map[string]string // each name is kept once

	files     []file
	versions  []version
	decisions []decision
	joints    [][2]digest.Digest
}

func (d *decoder) fail() { d.bad, d.rest = true, nil }

func (d *decoder) uint() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *decoder) int() int64 {
	n, size := binary.Varint(d.rest)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

// count reads the length of a list. Everything takes at least one byte, so that a
// wrong length cannot make room for more than the file is long.
func (d *decoder) count() int {
	n := d.uint()
	if n > uint64(len(d.rest)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) bytes(n int) []byte {
	if n > len(d.rest) {
		d.fail()
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) text() string {
	b := d.bytes(d.count())
	if s, ok := d.names[string(b)]; ok {
		return s
	}
	s := string(b)
	d.names[s] = s
	return s
}

func (d *decoder) digest() (sum digest.Digest) {
	copy(sum[:], d.bytes(len(sum)))
	return sum
}

func (d *decoder) bool() bool { return d.uint() == 1 }

func (d *decoder) stamp() site.Stamp { return site.Stamp{Size: d.int(), Mtime: d.int(), Ino: d.uint()} }

func (d *decoder) products() []*product {
	products := make([]*product, 0, d.count())
	d.versions = make([]version, d.count())
	d.files = make([]file, d.count())
	d.decisions = make([]decision, d.count())
	for range cap(products) {
		products = append(products, d.product())
	}
	return products
}

func (d *decoder) product() *product {
	p := new(product)
	name, err := catalog.ParseName(d.text())
	if err != nil {
		d.fail()
	}
	p.place = name.In(d.stream)
	p.levels = make([]level, d.count())
	for i := range p.levels {
		p.levels[i] = level{d.text(), d.stamp(), d.bool()}
	}
	p.versions = make([]*version, d.count())
	for i := range p.versions {
		p.versions[i] = d.version()
	}
	return p
}

func (d *decoder) version() *version {
	v := &take(&d.versions, 1, d)[0]
	v.name, v.dir, v.complete, v.verdict = d.text(), d.stamp(), d.bool(), verdict(d.uint())
	v.item, v.trouble, v.pending = d.text(), d.text(), d.bool()
	v.files = take(&d.files, d.count(), d)
	for i := range v.files {
		d.file(&v.files[i])
	}
	v.deltas = take(&d.decisions, d.count(), d)
	for i := range v.deltas {
		v.deltas[i] = decision{d.text(), d.digest(), d.bool()}
	}
	return v
}

func (d *decoder) file(f *file) {
	f.name, f.stamp, f.class = d.text(), d.stamp(), class(d.uint())
	f.settled, f.hashed = d.bool(), d.bool()
	if f.hashed {
		f.sum = d.digest()
	}
	if d.bool() {
		if len(d.joints) == 0 {
			d.joints = make([][2]digest.Digest, 1024)
		}
		f.joint = &d.joints[0]
		d.joints = d.joints[1:]
		f.joint[0], f.joint[1] = d.digest(), d.digest()
	}
}

// take cuts n elements off a block. A block that is too short is that of a damaged
// cache; the elements are made up for it, so that the caller has them to fill.
func take[T any](block *[]T, n int, d *decoder) []T {
	if n > len(*block) {
		d.fail()
		return make([]T, min(n, 1))
	}
	part := (*block)[:n:n]
	*block = (*block)[n:]
	return part
}
