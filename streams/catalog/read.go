package catalog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// A Reader reads a catalog one product at a time, so that a large one need not be
// in memory as a whole.
type Reader struct {
	// Foreign takes products that another tool has listed, as clients do: whatever their
	// ids are, and wherever on the site their files. They are marked as such.
	Foreign bool

	stream string
	dec    *json.Decoder
	ids    map[string]bool // that were read
	opened bool
	closed bool
	header map[string]string // what stands beside the products
}

// NewReader returns a Reader for the catalog of a stream.
func NewReader(r io.Reader, stream string) *Reader {
	return &Reader{stream: stream, dec: json.NewDecoder(r), ids: make(map[string]bool), header: make(map[string]string)}
}

// An InvalidError says that a product of a catalog cannot be trusted: a name in it
// is none, or a path leads elsewhere. The rest of the catalog can still be read.
type InvalidError struct {
	Product  string
	Versions []string // that could be told, sorted
	Err      error
}

func (e *InvalidError) Error() string { return fmt.Sprintf("product %q: %v", e.Product, e.Err) }

func (e *InvalidError) Unwrap() error { return e.Err }

// In tells whether nothing of the product is lost where those versions of it are found; nil:
// the product is not.
func (e *InvalidError) In(found map[string]bool) bool {
	return found != nil && !slices.ContainsFunc(e.Versions, func(name string) bool { return !found[name] })
}

// Next returns the next product and its id. After the last one the error is
// io.EOF; after an *InvalidError, reading can go on.
func (r *Reader) Next() (string, *Product, error) {
	if r.closed {
		return "", nil, io.EOF
	}
	if !r.opened {
		if err := r.open(); err != nil {
			return "", nil, decodeError(err)
		}
	}
	if !r.dec.More() {
		return "", nil, r.close()
	}
	id, err := r.key()
	if err != nil {
		return "", nil, decodeError(err)
	}
	if r.ids[id] { // which of them counts differs from reader to reader
		r.closed = true
		return "", nil, decodeError(fmt.Errorf("the product %q is there twice", id))
	}
	r.ids[id] = true
	p := new(Product)
	if err := r.dec.Decode(p); err != nil {
		if wrongType(err) {
			return id, nil, &InvalidError{id, p.versions(), err}
		}
		return "", nil, decodeError(err)
	}
	named := p.Distro != "" // clients do not need it
	if name, err := ParseName(id); err == nil && !named {
		p.Distro = name.Distro
	}
	if err := p.check(r.stream, id); err != nil {
		if p.Foreign = r.Foreign && !named && p.checkForeign() == nil; !p.Foreign {
			return id, nil, &InvalidError{id, p.versions(), err}
		}
	}
	return id, p, nil
}

// open reads up to the first product.
func (r *Reader) open() error {
	r.opened = true
	if err := r.delim('{'); err != nil {
		return err
	}
	found, err := r.skipTo("products")
	if err != nil {
		return err
	}
	if !found {
		r.closed = true
		return errors.New("there is no products key")
	}
	return r.delim('{')
}

// CheckHeader tells whether the catalog says that it is one, and of which stream. It
// can be asked when all of it has been read.
func (r *Reader) CheckHeader() error {
	for _, want := range []struct{ key, value string }{
		{"content_id", r.stream}, {"format", FormatProducts}, {"datatype", Datatype},
	} {
		if got := r.header[want.key]; got != want.value {
			return fmt.Errorf("%s is %q, not %q", want.key, got, want.value)
		}
	}
	return nil
}

// note remembers a value that CheckHeader looks at.
func (r *Reader) note(key string, value json.RawMessage) {
	switch key {
	case "content_id", "format", "datatype":
		var text string
		json.Unmarshal(value, &text) // what is no text is wrong, whatever it is
		r.header[key] = text
	}
}

// skipTo passes over keys and their values until the given key has been read.
func (r *Reader) skipTo(want string) (bool, error) {
	for r.dec.More() {
		key, err := r.key()
		if err != nil || key == want {
			return err == nil, err
		}
		var value json.RawMessage
		if err := r.dec.Decode(&value); err != nil {
			return false, err
		}
		r.note(key, value)
	}
	return false, nil
}

// close reads what follows the last product, so that a cut-off file is noticed.
func (r *Reader) close() error {
	r.closed = true
	if err := r.delim('}'); err != nil {
		return decodeError(err)
	}
	again, err := r.skipTo("products")
	if err == nil && again {
		err = errors.New("there is a second products key")
	}
	if err != nil {
		return decodeError(err)
	}
	if err := r.delim('}'); err != nil {
		return decodeError(err)
	}
	if _, err := r.dec.Token(); err != io.EOF {
		return decodeError(errors.New("something follows the catalog"))
	}
	return io.EOF
}

func (r *Reader) key() (string, error) {
	token, err := r.dec.Token()
	if err != nil {
		return "", err
	}
	key, ok := token.(string)
	if !ok {
		return "", fmt.Errorf("%v where a key should be", token)
	}
	return key, nil
}

func (r *Reader) delim(want json.Delim) error {
	token, err := r.dec.Token()
	if err == nil && token != want {
		err = fmt.Errorf("%v where %v should be", token, want)
	}
	return err
}

func decodeError(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("not a catalog: %w", err)
}

// wrongType tells whether the JSON is well formed, so that the decoder stands
// behind the value.
func wrongType(err error) bool {
	var t *json.UnmarshalTypeError
	return errors.As(err, &t)
}

func (p *Product) versions() []string { return slices.Sorted(maps.Keys(p.Versions)) }

// check refuses every name that could lead out of the product's directory.
func (p *Product) check(stream, id string) error {
	if err := p.Name().Check(); err != nil {
		return err
	}
	if p.Name().ID() != id {
		return fmt.Errorf("its parts make the id %q", p.Name().ID())
	}
	for name, version := range p.Versions {
		if err := CheckVersion(name); err != nil {
			return err
		}
		if name[0] == '.' {
			return fmt.Errorf("the version %q is hidden", name)
		}
		place := p.Name().In(stream).Of(name)
		for key, item := range version.Items {
			if err := item.check(place.Path()); err != nil {
				return fmt.Errorf("version %s: item %q: %w", name, key, err)
			}
		}
	}
	return nil
}

// checkForeign refuses what leads out of the site. More cannot be asked of a product that
// another tool has listed.
func (p *Product) checkForeign() error {
	for _, version := range p.Versions {
		for _, item := range version.Items {
			if !fs.ValidPath(item.Path) || item.Path == "." {
				return fmt.Errorf("the path %q is not one of a file", item.Path)
			}
			if err := item.checkHashes(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (i Item) check(dir string) error {
	file, ok := strings.CutPrefix(i.Path, dir+"/")
	if !ok {
		return fmt.Errorf("the path %q is not in %s", i.Path, dir)
	}
	if err := CheckFile(file); err != nil {
		return err
	}
	if err := i.checkHashes(); err != nil {
		return err
	}
	if i.DeltaBase != "" {
		return CheckVersion(i.DeltaBase)
	}
	return nil
}

func (i Item) checkHashes() error {
	if !isDigest(i.SHA256) {
		return fmt.Errorf("the hash %q is not a SHA-256", i.SHA256)
	}
	for _, kind := range kinds {
		if combined := *kind.Field(&i); combined != "" && !isDigest(combined) {
			return fmt.Errorf("the combined hash %q is not a SHA-256", combined)
		}
	}
	return nil
}

func isDigest(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// ReadIndex reads an index. Unknown formats are refused.
func ReadIndex(r io.Reader) (*Index, error) {
	var index Index
	dec := json.NewDecoder(r)
	if err := dec.Decode(&index); err != nil {
		return nil, fmt.Errorf("not an index: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF { // clients take no such thing
		return nil, errors.New("not an index: something follows it")
	}
	if index.Format != FormatIndex {
		return nil, fmt.Errorf("not an index: the format is %q", index.Format)
	}
	return &index, nil
}
