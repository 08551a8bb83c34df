package fetch

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"
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
	if c.Lock != nil && r.SHA256 != "" {
		if there, err := c.fromBody(r, dir, check); there {
			return err
		}
	}
	if c.Offline {
		return ErrOffline
	}
	if c.Shared != nil && r.SHA256 != "" {
		if there, err := c.fromShared(ctx, r, dir, check); there {
			return err
		}
	}
	var err error
	if c.Lock == nil {
		err = c.downloadFrom(ctx, r, known, dir, check)
	} else {
		err = c.downloadLocked(ctx, r, known, dir, check)
	}
	if err == nil && r.SHA256 != "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.fresh == nil {
			c.fresh = make(map[string]bool)
		}
		c.fresh[r.SHA256] = true
	}
	return err
}

// downloadFrom asks the one server that the URL names.
func (c *Client) downloadFrom(ctx context.Context, r Request, known response, dir string, check check) error {
	part, err := c.openPart(r)
	if err != nil {
		return err
	}
	defer part.file.Close()
	err = c.transfer(ctx, r, known, part)
	if err == nil {
		return part.finish(r, dir, check)
	}
	if large := errTooLarge(0); part.size == 0 || errors.As(err, &large) { // nothing to take up
		part.remove()
	}
	return err
}

// transfer asks for the file until the part is whole. It waits its turn at the host, but
// keeps nobody else waiting: what comes after may need another file from there.
func (c *Client) transfer(ctx context.Context, r Request, known response, part *fragment) error {
	leave, err := c.enter(ctx, r.URL)
	if err != nil {
		return err
	}
	defer leave()
	for try := 0; ; try++ {
		before := part.size
		err := c.receive(ctx, r, known, part)
		var cut *cutError
		if !errors.As(err, &cut) || try == retries {
			return err
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
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
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
	resp, err := c.answer(req, r.Via)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	plain := downgraded(resp)
	if plain && r.private() {
		return fmt.Errorf("it is redirected from https to %s, where anybody on the way can change it: give the keys that it is signed with", resp.Request.URL)
	}
	if plain && !r.Pinned() && r.Trust == nil {
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
		if plain && !p.response.Plain {
			p.response.Plain = true
			if err := p.note(); err != nil {
				return err
			}
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

// unreachable strips the URL, which the caller names, from a transport error. Its host will
// not be waited for again.
func (c *Client) unreachable(req *http.Request, err error) error {
	if cause := context.Cause(req.Context()); cause != nil {
		return cause
	}
	if !errors.Is(err, http.ErrSchemeMismatch) && !errors.Is(err, errRedirects) { // which are answers
		c.down.LoadOrStore(req.URL.Host, withoutURL(err))
	}
	return unreachableError{withoutURL(err)}
}

// gaveUp is the error of a host that is not asked again.
func (c *Client) gaveUp(host string) error {
	if !c.GiveUp {
		return nil
	}
	why, down := c.down.Load(host)
	if !down {
		return nil
	}
	return unreachableError{why.(error)}
}

func withoutURL(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// unreachableError is a request that has got no answer.
type unreachableError struct{ cause error }

func (e unreachableError) Error() string {
	if errors.Is(e.cause, errRedirects) {
		return "the server answers with no file: " + e.cause.Error()
	}
	return "the server cannot be reached: " + e.cause.Error()
}
func (e unreachableError) Unwrap() error { return e.cause }

// Unreachable tells whether the cause of an error is a server that does not answer, or not
// like one that works, or that must not be asked: what it last served may still be what it
// has.
func Unreachable(err error) bool {
	var gone unreachableError
	var cut *cutError
	var status statusError
	return errors.Is(err, ErrOffline) || errors.As(err, &gone) || errors.As(err, &cut) || errors.As(err, &status) && !errors.Is(err, ErrNotFound)
}

// A staleError is that of a server that cannot be reached, where what it last served is known.
type staleError struct{ cause error }

func (e staleError) Error() string { return e.cause.Error() + "; --stale-ok takes what was last seen" }
func (e staleError) Unwrap() error { return e.cause }

// Stale says of an error what lets the last that is known of a server count, if it cannot be reached.
func Stale(err error) error {
	if !Unreachable(err) || IsStale(err) {
		return err
	}
	return staleError{err}
}

// IsStale tells whether Stale has said that.
func IsStale(err error) bool {
	var stale staleError
	return errors.As(err, &stale)
}

// store appends an answer to the part, which is whole at total bytes, -1 if that is not
// known.
func (c *Client) store(ctx context.Context, r Request, p *fragment, resp *http.Response, total int64) error {
	if total > r.MaxSize {
		return errTooLarge(r.MaxSize)
	}
	writers := []io.Writer{p.file, p.hashes()}
	if c.Progress != nil {
		bar := c.Progress.Start(cmp.Or(r.Label, path.Base(resp.Request.URL.Path)), resp.ContentLength)
		defer bar.Close()
		writers = append(writers, bar)
	}
	body := &bodyReader{resp.Body, nil}
	var content io.Reader = body
	if p.size == 0 {
		head := make([]byte, 512)
		n, _ := io.ReadFull(body, head) // an error will come again
		content = io.MultiReader(bytes.NewReader(head[:n]), body)
		if p.page = isPage(resp, head[:n]); p.page && r.NoPage && !r.Pinned() && !isPageName(r.URL) {
			return errPage
		}
	}
	if r.Size > 0 && !p.page { // a page is all that comes
		total = max(total, r.Size)
	}
	n, err := io.CopyBuffer(io.MultiWriter(writers...), io.LimitReader(content, r.MaxSize-p.size+1), make([]byte, bufferSize))
	p.size += n
	switch {
	case context.Cause(ctx) != nil:
		return context.Cause(ctx)
	case body.err != nil:
		return &cutError{body.err}
	case err != nil:
		return err
	case p.size > r.MaxSize:
		return errTooLarge(r.MaxSize)
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

// errTooLarge is the cause where a file has more bytes than this.
type errTooLarge int64

func (e errTooLarge) Error() string { return fmt.Sprintf("it is larger than %d bytes", int64(e)) }

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
