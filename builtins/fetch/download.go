package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"imagebuilder/builtins/layer"
)

// One download, from the first request to the last byte: what is kept of a cut one, and
// which answers are not the file asked for.

var errNotModified = errors.New("not modified")

// ErrOffline is the cause where a server would have to be asked and must not be.
var ErrOffline = errors.New("it is not in the cache, and nothing is downloaded with --offline")

// download puts the file of a request and what is known of the answer into dir. It
// returns errNotModified if the file is still the known one. What arrives before a
// connection breaks is kept, and the rest asked for.
func (c *Client) download(ctx context.Context, r Request, known response, dir string, check check) error {
	if c.Offline {
		return ErrOffline
	}
	leave, err := c.enter(ctx, r.URL)
	if err != nil {
		return err
	}
	defer leave()
	part, err := c.openPart(r)
	if err != nil {
		return err
	}
	defer part.file.Close()
	for try := 0; ; try++ {
		before := part.size
		err = c.receive(ctx, r, known, part)
		var cut *cutError
		if !errors.As(err, &cut) || try == retries {
			break
		}
		// What moves on may go on: not by a byte for each connection, though.
		if part.size-before >= progress {
			try = 0
		}
		c.Log.Debug("download cut, asking for the rest", "url", r.URL, "bytes", part.size, "cause", cut.err)
		if err := pause(ctx, c.wait()<<try); err != nil {
			return err
		}
	}
	if err == nil {
		return part.finish(r, dir, check)
	}
	if part.size == 0 { // nothing to take up
		part.remove()
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

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
	if err != nil || json.Unmarshal(data, &p.response) != nil || p.validator() == "" {
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

// cutError is a connection that broke while the file came.
type cutError struct{ err error }

func (e *cutError) Error() string { return "the connection broke: " + e.err.Error() }
func (e *cutError) Unwrap() error { return e.err }

// receive makes one request for what is missing and appends the answer to the part.
func (c *Client) receive(ctx context.Context, r Request, known response, p *fragment) error {
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "imagebuilder")
	// A digest is of the file as it lies on the server. Unless told otherwise, the
	// transport asks for gzip and unpacks what comes, a .tar.gz among it.
	req.Header.Set("Accept-Encoding", "identity")
	switch {
	case p.size > 0 && p.validator() != "" && !p.whole:
		req.Header.Set("Range", "bytes="+strconv.FormatInt(p.size, 10)+"-")
		req.Header.Set("If-Range", p.validator())
	case known.ETag != "":
		req.Header.Set("If-None-Match", known.ETag)
	case known.LastModified != "":
		req.Header.Set("If-Modified-Since", known.LastModified)
	}
	resp, err := c.client().Do(req)
	if err != nil {
		return unreachable(ctx, err)
	}
	defer resp.Body.Close()
	plain := downgraded(resp)
	if plain && r.private() {
		return fmt.Errorf("it is redirected from https to %s, where anybody on the way can change it: give the keys that it is signed with", resp.Request.URL)
	}
	if plain && !r.pinned() && r.Trust == nil {
		c.warn("a download is redirected from https to http: anybody on the way can change it", "url", r.URL, "to", resp.Request.URL.String())
	}
	total := resp.ContentLength // -1 if it is not known
	switch {
	case resp.StatusCode == http.StatusNotModified:
		return errNotModified
	case resp.StatusCode == http.StatusPartialContent && p.size > 0:
		if total, err = p.follows(resp); err != nil {
			return p.distrust(err)
		}
	case resp.StatusCode == http.StatusOK:
		if err := p.restart(); err != nil {
			return err
		}
		if err := p.remember(resp, plain); err != nil {
			return err
		}
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && p.size > 0:
		return p.distrust(errors.New(resp.Status))
	default:
		return statusError{resp.Status, resp.StatusCode}
	}
	return c.store(ctx, r, p, resp, total)
}

// downgraded tells whether the way from an https URL to its answer has led through http.
func downgraded(resp *http.Response) bool {
	plain := false
	for req := resp.Request; ; req = req.Response.Request {
		plain = plain || req.URL.Scheme == "http"
		if req.Response == nil {
			return plain && req.URL.Scheme == "https"
		}
	}
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

// unreachable strips the URL, which the caller names, from a transport error.
func unreachable(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return fmt.Errorf("the server cannot be reached: %w", err)
}

// remember keeps the validators of the answer, and the size that it promises, beside the
// part.
func (p *fragment) remember(resp *http.Response, plain bool) error {
	p.response = response{
		ETag: resp.Header.Get("ETag"), LastModified: resp.Header.Get("Last-Modified"), Size: resp.ContentLength,
		URL: resp.Request.URL.String(), Type: resp.Header.Get("Content-Type"), Plain: plain,
	}
	data, err := json.Marshal(p.response)
	if err != nil {
		return err
	}
	return os.WriteFile(p.file.Name()+layer.ForPartial, data, 0o600)
}

// store appends an answer to the part, which is whole at total bytes, -1 if that is not
// known.
func (c *Client) store(ctx context.Context, r Request, p *fragment, resp *http.Response, total int64) error {
	if total > r.MaxSize {
		return fmt.Errorf("it is larger than %d bytes", r.MaxSize)
	}
	writers := []io.Writer{p.file, p.hashes()}
	if c.Progress != nil {
		bar := c.Progress.Start(path.Base(resp.Request.URL.Path), resp.ContentLength)
		defer bar.Close()
		writers = append(writers, bar)
	}
	body := &bodyReader{resp.Body, nil}
	var content io.Reader = body
	if p.size == 0 {
		head := make([]byte, 512)
		n, _ := io.ReadFull(body, head) // an error will come again
		content = io.MultiReader(bytes.NewReader(head[:n]), body)
		if p.page = isPage(resp, head[:n]); p.page && r.NoPage && !r.pinned() && !isPageName(r.URL) {
			return errPage
		}
	}
	n, err := io.Copy(io.MultiWriter(writers...), io.LimitReader(content, r.MaxSize-p.size+1))
	p.size += n
	switch {
	case context.Cause(ctx) != nil:
		return context.Cause(ctx)
	case body.err != nil:
		return &cutError{body.err}
	case err != nil:
		return err
	case p.size > r.MaxSize:
		return fmt.Errorf("it is larger than %d bytes", r.MaxSize)
	case total >= 0 && p.size > total:
		return p.distrust(fmt.Errorf("%d bytes of %d have come", p.size, total))
	case p.size < total:
		return &cutError{fmt.Errorf("%d bytes of %d have come: %w", p.size, total, io.ErrUnexpectedEOF)}
	}
	return nil
}

// errPage is the cause where a server has nothing but words.
var errPage = errors.New("the server has sent an HTML page, not the file: it may have moved, or needs a login")

// isPage tells whether an answer that begins so is an HTML page. Some servers call so what
// they have no name for, and others have none for pages.
func isPage(resp *http.Response, head []byte) bool {
	if !strings.HasPrefix(http.DetectContentType(head), "text/html") {
		return false
	}
	start := bytes.ToLower(bytes.TrimSpace(head))
	return strings.Contains(resp.Header.Get("Content-Type"), "html") || bytes.HasPrefix(start, []byte("<!doctype")) || bytes.HasPrefix(start, []byte("<html"))
}

// isPageName tells whether the file of a URL is to be an HTML page.
func isPageName(text string) bool {
	switch strings.ToLower(path.Ext(fileName(text))) {
	case ".html", ".htm", ".xhtml":
		return true
	}
	return false
}

// bodyReader tells an error of the network from one of the disk.
type bodyReader struct {
	r   io.Reader
	err error
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
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
