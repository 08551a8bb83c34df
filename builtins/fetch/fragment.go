package fetch

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"imagebuilder/builtins/layer"
)

// What has come of a file so far: kept from one connection, and from one run, to the next, until
// it is whole and right.

// A fragment is the beginning of a file, which outlives a run that is ended.
type fragment struct {
	file     *os.File
	content  io.ReadSeeker // the file, for what checks it
	size     int64
	hash     hash.Hash
	hash512  hash.Hash // nil: nobody asks for it
	response response  // of the answer it came from
	whole    bool      // the server cannot be asked for a rest: it answers with something else
	page     bool      // it is an HTML page
}

// openPart opens what an earlier run left of the same URL, or an empty file. The key
// of the store that the caller builds keeps other processes away.
func (c *Client) openPart(r Request) (*fragment, error) {
	sum := sha256.Sum256([]byte(r.URL + "#" + r.SHA256 + "#" + r.SHA512))
	f, err := os.OpenFile(filepath.Join(c.Store.Partial(), hex.EncodeToString(sum[:])), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	p := &fragment{file: f, content: f}
	p.hashFor(r)
	data, err := os.ReadFile(f.Name() + layer.ForPartial)
	if err != nil || json.Unmarshal(data, &p.response) != nil || p.validator() == "" || p.response.Plain && r.private() {
		return p, p.restart()
	}
	p.size, err = io.Copy(p.hashes(), f)
	return p, err
}

// hashFor gets ready for the digests that a request asks for, and the one that all have.
func (p *fragment) hashFor(r Request) {
	p.hash = sha256.New()
	if r.SHA512 != "" {
		p.hash512 = sha512.New()
	}
}

// hashes get what arrives.
func (p *fragment) hashes() io.Writer {
	if p.hash512 == nil {
		return p.hash
	}
	return io.MultiWriter(p.hash, p.hash512)
}

// validator is what If-Range takes: a strong ETag, else the time of modification.
func (p *fragment) validator() string {
	if tag := p.response.ETag; tag != "" && tag[0] == '"' {
		return tag
	}
	return p.response.LastModified
}

func (p *fragment) restart() error {
	p.size, p.response = 0, response{}
	p.hash.Reset()
	if p.hash512 != nil {
		p.hash512.Reset()
	}
	if err := p.file.Truncate(0); err != nil {
		return err
	}
	_, err := p.file.Seek(0, io.SeekStart)
	return err
}

func (p *fragment) remove() {
	os.Remove(p.file.Name())
	os.Remove(p.file.Name() + layer.ForPartial)
}

// follows tells whether an answer to a range request begins where the part ends, and
// returns the size of the whole file, which the first answer or this one has to say: what
// has been sent may be a piece of the rest.
func (p *fragment) follows(resp *http.Response) (total int64, err error) {
	text := resp.Header.Get("Content-Range")
	wrong := fmt.Errorf("asked for the bytes from %d on, the server has sent %q", p.size, text)
	span, size, _ := strings.Cut(strings.TrimPrefix(text, "bytes "), "/")
	first, last, _ := strings.Cut(span, "-")
	start, err1 := strconv.ParseInt(first, 10, 64)
	end, err2 := strconv.ParseInt(last, 10, 64)
	if err1 != nil || err2 != nil || start != p.size || end < start {
		return 0, wrong
	}
	if resp.ContentLength >= 0 && resp.ContentLength != end-start+1 {
		return 0, wrong
	}
	total = p.response.Size
	if size != "*" {
		if total, err = strconv.ParseInt(size, 10, 64); err != nil || p.response.Size > 0 && total != p.response.Size {
			return 0, wrong
		}
	}
	if total <= end {
		return 0, wrong
	}
	return total, nil
}

// distrust begins anew after an answer that is not the rest asked for, and asks for no
// rest again: else such a server and this client would never come to an end.
func (p *fragment) distrust(cause error) error {
	p.whole = true
	if err := p.restart(); err != nil {
		return err
	}
	return &cutError{cause}
}

// remember keeps the validators of the answer, and the size that it promises, beside the
// part.
func (p *fragment) remember(resp *http.Response, plain bool) error {
	p.response = response{
		ETag: resp.Header.Get("ETag"), LastModified: resp.Header.Get("Last-Modified"), Size: resp.ContentLength,
		URL: resp.Request.URL.String(), Type: resp.Header.Get("Content-Type"), Plain: plain,
	}
	return p.note()
}

// note keeps beside the part what is known of it.
func (p *fragment) note() error {
	data, err := json.Marshal(p.response)
	if err != nil {
		return err
	}
	return os.WriteFile(p.file.Name()+layer.ForPartial, data, 0o600)
}

// finish checks the whole file and moves it to dir.
func (p *fragment) finish(r Request, dir string, check check) error {
	if err := p.verify(r, check); err != nil {
		p.remove()
		return err
	}
	if err := os.Rename(p.file.Name(), filepath.Join(dir, "file")); err != nil {
		return err
	}
	os.Remove(p.file.Name() + layer.ForPartial)
	return writeResponse(dir, p.response)
}

// WrongError is that of a file which is not what was wanted.
type WrongError struct{ error }

func (e WrongError) Unwrap() error { return e.error }

// verify checks what lies in the part, which nothing writes to any more.
func (p *fragment) verify(r Request, check check) (err error) {
	p.response.SHA256, p.response.Size = hex.EncodeToString(p.hash.Sum(nil)), p.size
	if p.hash512 != nil {
		p.response.SHA512 = hex.EncodeToString(p.hash512.Sum(nil))
	}
	page := ""
	if p.page {
		page = ": the server has sent an HTML page"
	}
	switch {
	case r.SHA256 != "" && p.response.SHA256 != r.SHA256:
		return WrongError{fmt.Errorf("it has the SHA-256 %s, not %s%s", p.response.SHA256, r.SHA256, page)}
	case r.SHA512 != "" && p.response.SHA512 != r.SHA512:
		return WrongError{fmt.Errorf("it has the SHA-512 %s, not %s%s", p.response.SHA512, r.SHA512, page)}
	}
	p.response.Signed, err = check.run(p.content)
	return err
}
