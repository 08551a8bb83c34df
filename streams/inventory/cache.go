package inventory

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"path"

	"imagebuilder/builtins/digest"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/site"
)

// The side cache of a stream remembers what was found in it: stamps, hashes and
// judgements. It only saves work. One that is missing, damaged or of another
// format is as good as empty, and an entry counts only as long as size, time and
// inode of the file are what they were.

// CacheMagic is changed whenever the format or the meaning of what is kept is.
const CacheMagic = "imagebuilder streams cache 1\n"

// errCache says that a cache cannot be used; why does not matter to anyone.
var errCache = errors.New("not a cache")

// A cacheID tells one state of a cache from any other.
type cacheID = digest.Digest

// A Cache is what is remembered of a stream.
type Cache struct {
	ID       cacheID
	Upstream bool // the classes and verdicts are the old tool's
	Products []*FoundProduct
}

// encode writes the cache and returns its id.
func (c *Cache) encode(w *bufio.Writer) (cacheID, error) {
	hash := sha256.New()
	e := &cacheWriter{w: bufio.NewWriterSize(io.MultiWriter(w, hash), 64<<10)}
	e.text(CacheMagic)
	e.bool(c.Upstream)
	e.counts(c.Products)
	for _, p := range c.Products {
		e.product(p)
	}
	if err := e.w.Flush(); err != nil {
		return cacheID{}, err
	}
	id := cacheID(hash.Sum(nil))
	_, err := w.Write(id[:])
	return id, err
}

// An cacheWriter writes the parts. Errors stay in the writer below until Flush.
type cacheWriter struct {
	w   *bufio.Writer
	buf [binary.MaxVarintLen64]byte
}

func (e *cacheWriter) uint(n uint64)          { e.w.Write(binary.AppendUvarint(e.buf[:0], n)) }
func (e *cacheWriter) int(n int64)            { e.w.Write(binary.AppendVarint(e.buf[:0], n)) }
func (e *cacheWriter) digest(d digest.Digest) { e.w.Write(d[:]) }

func (e *cacheWriter) text(s string) {
	e.uint(uint64(len(s)))
	e.w.WriteString(s)
}

func (e *cacheWriter) bool(b bool) {
	n := uint64(0)
	if b {
		n = 1
	}
	e.uint(n)
}

func (e *cacheWriter) stamp(s site.Stamp) {
	e.int(s.Size)
	e.int(s.Mtime)
	e.uint(s.Ino)
}

// counts come first, so that the reader can make room for everything at once.
func (e *cacheWriter) counts(products []*FoundProduct) {
	var c counts
	for _, p := range products {
		c.versions += len(p.Versions)
		for _, v := range p.Versions {
			c.files += len(v.Files)
			c.decisions += len(v.deltas)
		}
	}
	e.uint(uint64(len(products)))
	e.uint(uint64(c.versions))
	e.uint(uint64(c.files))
	e.uint(uint64(c.decisions))
}

type counts struct{ versions, files, decisions int }

func (e *cacheWriter) product(p *FoundProduct) {
	e.text(p.Location.Product.ID())
	e.uint(uint64(len(p.levels)))
	for _, l := range p.levels {
		e.text(l.path)
		e.stamp(l.stamp)
		e.bool(l.settled)
	}
	e.uint(uint64(len(p.Versions)))
	for _, v := range p.Versions {
		e.version(v)
	}
}

func (e *cacheWriter) version(v *FoundVersion) {
	e.text(v.Name)
	e.stamp(v.dir)
	e.bool(v.complete)
	e.uint(uint64(v.Verdict))
	e.text(v.Item)
	e.text(v.Trouble)
	e.bool(v.Pending)
	e.uint(uint64(len(v.Files)))
	for i := range v.Files {
		e.file(&v.Files[i])
	}
	e.uint(uint64(len(v.deltas)))
	for _, d := range v.deltas {
		e.text(d.name)
		e.digest(d.key)
		e.bool(d.kept)
	}
}

func (e *cacheWriter) file(f *FoundFile) {
	e.text(f.Name)
	e.stamp(f.Stamp)
	e.uint(uint64(f.Class))
	e.bool(f.Settled)
	e.bool(f.Hashed)
	if f.Hashed {
		e.digest(f.Sum)
	}
	e.bool(f.Joint != nil)
	if f.Joint != nil {
		e.digest(f.Joint[0])
		e.digest(f.Joint[1])
	}
}

// decodeCache reads the cache of a stream. Its strings and slices share a few large blocks of
// memory, since a large tree has hundreds of thousands of files.
func decodeCache(data []byte, stream string) (*Cache, error) {
	body := len(data) - sha256.Size
	if body < 0 {
		return nil, errCache
	}
	c := &Cache{ID: sha256.Sum256(data[:body])}
	if !bytes.Equal(c.ID[:], data[body:]) {
		return nil, errCache
	}
	d := &cacheReader{stream: stream, rest: data[:body], names: map[string]string{}}
	if d.text() != CacheMagic {
		return nil, errCache
	}
	c.Upstream = d.bool()
	c.Products = d.products()
	if d.bad || len(d.rest) > 0 {
		return nil, errCache
	}
	return c, nil
}

// A cacheReader takes the parts off the front. After a fault it is bad for good and
// gives zero values.
type cacheReader struct {
	stream string
	rest   []byte
	bad    bool
	names  map[string]string // each name is kept once

	files     []FoundFile
	versions  []FoundVersion
	decisions []decision
	joints    [][2]digest.Digest
}

func (d *cacheReader) fail() { d.bad, d.rest = true, nil }

func (d *cacheReader) uint() uint64 {
	n, size := binary.Uvarint(d.rest)
	if size <= 0 {
		d.fail()
		return 0
	}
	d.rest = d.rest[size:]
	return n
}

func (d *cacheReader) int() int64 {
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
func (d *cacheReader) count() int {
	n := d.uint()
	if n > uint64(len(d.rest)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *cacheReader) bytes(n int) []byte {
	if n > len(d.rest) {
		d.fail()
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *cacheReader) text() string {
	b := d.bytes(d.count())
	if s, ok := d.names[string(b)]; ok {
		return s
	}
	s := string(b)
	d.names[s] = s
	return s
}

func (d *cacheReader) digest() (sum digest.Digest) {
	copy(sum[:], d.bytes(len(sum)))
	return sum
}

func (d *cacheReader) bool() bool { return d.uint() == 1 }

func (d *cacheReader) stamp() site.Stamp {
	return site.Stamp{Size: d.int(), Mtime: d.int(), Ino: d.uint()}
}

func (d *cacheReader) products() []*FoundProduct {
	products := make([]*FoundProduct, 0, d.count())
	d.versions = make([]FoundVersion, d.count())
	d.files = make([]FoundFile, d.count())
	d.decisions = make([]decision, d.count())
	for range cap(products) {
		products = append(products, d.product())
	}
	return products
}

func (d *cacheReader) product() *FoundProduct {
	p := new(FoundProduct)
	name, err := catalog.ParseName(d.text())
	if err != nil {
		d.fail()
	}
	p.Location = name.In(d.stream)
	p.levels = make([]level, d.count())
	for i := range p.levels {
		p.levels[i] = level{d.text(), d.stamp(), d.bool()}
	}
	p.Versions = make([]*FoundVersion, d.count())
	for i := range p.Versions {
		p.Versions[i] = d.version()
	}
	return p
}

func (d *cacheReader) version() *FoundVersion {
	v := &take(&d.versions, 1, d)[0]
	v.Name, v.dir, v.complete, v.Verdict = d.text(), d.stamp(), d.bool(), verdict(d.uint())
	v.Item, v.Trouble, v.Pending = d.text(), d.text(), d.bool()
	v.Files = take(&d.files, d.count(), d)
	for i := range v.Files {
		d.file(&v.Files[i])
	}
	v.deltas = take(&d.decisions, d.count(), d)
	for i := range v.deltas {
		v.deltas[i] = decision{d.text(), d.digest(), d.bool()}
	}
	return v
}

func (d *cacheReader) file(f *FoundFile) {
	f.Name, f.Stamp, f.Class = d.text(), d.stamp(), class(d.uint())
	f.Settled, f.Hashed = d.bool(), d.bool()
	if f.Hashed {
		f.Sum = d.digest()
	}
	if d.bool() {
		if len(d.joints) == 0 {
			d.joints = make([][2]digest.Digest, 1024)
		}
		f.Joint = &d.joints[0]
		d.joints = d.joints[1:]
		f.Joint[0], f.Joint[1] = d.digest(), d.digest()
	}
}

// take cuts n elements off a block. A block that is too short is that of a damaged
// cache; the elements are made up for it, so that the caller has them to fill.
func take[T any](block *[]T, n int, d *cacheReader) []T {
	if n > len(*block) {
		d.fail()
		return make([]T, min(n, 1))
	}
	part := (*block)[:n:n]
	*block = (*block)[n:]
	return part
}

func cachePath(stream string) string { return path.Join(site.StateDir, stream+".cache") }

// ReadCache returns what is known of a stream, judged as it is to be now. Where it was
// judged otherwise only the hashes still count.
func ReadCache(files *site.Files, stream string, upstream bool) *Cache {
	c, err := decodeCache(files.ReadState(cachePath(stream)), stream)
	if err != nil {
		return new(Cache)
	}
	if c.Upstream != upstream {
		for _, p := range c.Products {
			for _, v := range p.Versions {
				v.complete, v.Verdict = false, Unjudged
			}
		}
	}
	return c
}

// Write remembers it as that of a stream.
func (c *Cache) Write(files *site.Files, stream string) error {
	return files.Replace(cachePath(stream), func(out *bufio.Writer) (err error) {
		c.ID, err = c.encode(out)
		return err
	})
}
