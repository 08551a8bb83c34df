// Package fetch downloads files over http and https. What it has downloaded is kept
// in the store: a file known by its digest is never asked for again, any other is
// asked for by its validators, so that an unchanged one costs one short answer.
// Bytes are checked while they are written, and only whole, checked files are ever
// seen. A server that goes nowhere is given up. Signatures belong here too, in a policy
// beside [Request.SHA256].
package fetch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"imagebuilder/builtins/layer"
)

// DefaultMaxSize bounds a download that says nothing else.
const DefaultMaxSize = 64 << 30

// perHost is how many requests are made to one host at a time.
const perHost = 4

// A Client downloads into a store. Its fields are set before its first use.
type Client struct {
	Store    *layer.Store
	Log      *slog.Logger
	Progress Progress // nil: none is shown

	Transport http.RoundTripper // nil: the usual one
	Wait      time.Duration     // before the first retry, doubled for each; 0: half a second
	MaxWait   time.Duration     // the longest that a server may ask for by Retry-After; 0: a minute
	Patience  time.Duration     // how long a server may take to answer, and for each further 64 KiB; 0: a minute

	mu    sync.Mutex
	hosts map[string]chan struct{}
	seen  map[string]Fetched // by URL: within a run a URL means one file
	retry *retryablehttp.Client
}

// Progress shows how far downloads are. Its methods are called by several goroutines.
type Progress interface {
	// Start begins a download of total bytes, -1 if that is not known. The writer gets
	// what arrives and is closed at the end.
	Start(name string, total int64) io.WriteCloser
}

// A Request is one file wanted.
type Request struct {
	URL     string
	SHA256  string // 64 hex digits the file must have; empty: any, but see whether it changed
	MaxSize int64  // in bytes; 0: DefaultMaxSize
}

// A Fetched is a downloaded file. It is not to be changed.
type Fetched struct {
	Path   string // on the host
	Note   string // file beside it without which the next run does not trust it
	SHA256 string
	Size   int64
	URL    string // where it came from in the end
	Type   string // its media type, as the server says; "": it does not
}

// response is what is kept of an answer beside its body, to ask for changes or the rest
// later.
type response struct {
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	SHA256       string `json:"sha256"`
	Size         int64  `json:"size"`          // of the whole file; 0 or less: the server has not said it
	URL          string `json:"url,omitempty"` // where the server has sent us
	Type         string `json:"type,omitempty"`
}

// Check finds what is wrong with a request without making it.
func (r Request) Check() error {
	u, err := url.Parse(r.URL)
	if err != nil {
		return err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("not an http or https URL: %q", r.URL)
	}
	return CheckDigest(r.SHA256)
}

// CheckDigest finds what is wrong with a SHA-256 in hexadecimal, unless it is empty.
func CheckDigest(digest string) error {
	if sum, err := hex.DecodeString(digest); err != nil || len(sum) != 0 && len(sum) != sha256.Size {
		return fmt.Errorf("not a SHA-256 of 64 hex digits: %q", digest)
	}
	return nil
}

// Fetch returns the file of a request, downloaded if need be.
func (c *Client) Fetch(ctx context.Context, r Request) (Fetched, error) {
	if err := r.Check(); err != nil {
		return Fetched{}, err
	}
	r.SHA256 = strings.ToLower(r.SHA256)
	if r.MaxSize == 0 {
		r.MaxSize = DefaultMaxSize
	}
	c.mu.Lock()
	f, ok := c.seen[r.URL]
	c.mu.Unlock()
	if ok && (r.SHA256 == "" || r.SHA256 == f.SHA256) {
		return f, nil
	}
	f, err := c.fetch(ctx, r)
	if err != nil {
		return f, fmt.Errorf("cannot download %s: %w", r.URL, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.seen = make(map[string]Fetched)
	}
	c.seen[r.URL] = f
	return f, nil
}

// origin is what the file of a request is kept by in the store.
func origin(r Request) layer.Origin {
	if r.SHA256 != "" { // whatever the URL
		return layer.Origin{Name: "download", Inputs: []layer.Input{{Name: "sha256", Value: r.SHA256}}, Summary: r.URL}
	}
	return layer.Origin{Name: "download", Network: true, Inputs: []layer.Input{{Name: "url", Value: r.URL}}, Summary: r.URL}
}

func (c *Client) fetch(ctx context.Context, r Request) (Fetched, error) {
	e, err := c.Store.Revise(ctx, origin(r), func(old *layer.Entry, dir string) (bool, error) {
		if old == nil {
			return false, c.download(ctx, r, response{}, dir)
		}
		known, err := c.known(old.Data())
		if err != nil || r.SHA256 != "" && known.SHA256 != r.SHA256 {
			c.Log.Warn("a cached download is damaged: downloading it again", "url", r.URL, "cause", err)
			return false, c.download(ctx, r, response{}, dir)
		}
		if r.SHA256 != "" {
			return true, nil
		}
		err = c.download(ctx, r, known, dir)
		if errors.Is(err, errNotModified) {
			return true, nil
		}
		return false, err
	})
	if err != nil {
		return Fetched{}, err
	}
	return fetched(e)
}

// fetched is the file of an entry.
func fetched(e *layer.Entry) (Fetched, error) {
	known, err := readResponse(e.Data())
	return Fetched{
		Path: filepath.Join(e.Data(), "file"), Note: filepath.Join(e.Data(), responseName),
		SHA256: known.SHA256, Size: known.Size, URL: known.URL, Type: known.Type,
	}, err
}

const responseName = "response.json"

func readResponse(dir string) (response, error) {
	var known response
	data, err := os.ReadFile(filepath.Join(dir, responseName))
	if err != nil {
		return known, err
	}
	return known, json.Unmarshal(data, &known)
}

// known is readResponse for a file that must still be as it was stored.
func (c *Client) known(dir string) (response, error) {
	known, err := readResponse(dir)
	if err != nil {
		return known, err
	}
	file := filepath.Join(dir, "file")
	if err := layer.Intact(file, filepath.Join(dir, responseName), known.Size, known.SHA256); err != nil || !c.Store.Refreshing() {
		return known, err
	}
	return known, layer.Read(file, known.SHA256)
}

// Verify reads the download in a directory of the store to find out whether it still is what
// was stored.
func Verify(dir string) error {
	known, err := readResponse(dir)
	if err != nil {
		return err
	}
	return layer.Read(filepath.Join(dir, "file"), known.SHA256)
}

// Read returns the content of a small file, at most max bytes.
func (c *Client) Read(ctx context.Context, rawURL string, max int64) ([]byte, error) {
	f, err := c.Fetch(ctx, Request{URL: rawURL, MaxSize: max})
	if err != nil {
		return nil, err
	}
	return os.ReadFile(f.Path)
}

// ErrNotFound is the cause where a server says that there is no such file.
var ErrNotFound = fs.ErrNotExist

// statusError is an answer that is not the file.
type statusError struct {
	status string
	code   int
}

func (e statusError) Error() string { return "the server says " + e.status }

func (e statusError) Is(target error) bool {
	return target == ErrNotFound && (e.code == http.StatusNotFound || e.code == http.StatusGone)
}

// client returns the retrying http client: transport errors and answers that a later
// try may not get are tried again, with growing pauses or as Retry-After says.
func (c *Client) client() *retryablehttp.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retry == nil {
		c.retry = retryablehttp.NewClient()
		c.retry.Logger = nil
		c.retry.RetryMax = retries
		c.retry.RetryWaitMin = c.wait()
		c.retry.CheckRetry = worthRetrying
		c.retry.Backoff = c.backoff
		c.retry.ErrorHandler = retryablehttp.PassthroughErrorHandler
		c.retry.HTTPClient.Transport = patient{cmp.Or(c.Transport, c.retry.HTTPClient.Transport), cmp.Or(c.Patience, defaultPatience)}
	}
	return c.retry
}

// retries is how often a request, and how often a cut download, is tried again.
const retries = 4

func (c *Client) wait() time.Duration {
	if c.Wait != 0 {
		return c.Wait
	}
	return time.Second / 2
}

// backoff is how long to wait before the next try. What the server asks for is heard,
// within bounds, and said.
func (c *Client) backoff(min, max time.Duration, try int, resp *http.Response) time.Duration {
	wait := retryablehttp.DefaultBackoff(min, max, try, resp)
	if resp == nil || resp.Header.Get("Retry-After") == "" {
		return wait
	}
	longest := c.MaxWait
	if longest == 0 {
		longest = time.Minute
	}
	if wait > longest {
		wait = longest
	}
	c.Log.Warn("the server asks to wait", "url", resp.Request.URL.String(), "status", resp.Status,
		"retry_after", resp.Header.Get("Retry-After"), "waiting", wait)
	return wait
}

func worthRetrying(ctx context.Context, resp *http.Response, err error) (bool, error) {
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return false, nil // a name that does not exist will not exist in a second
	}
	return retryablehttp.DefaultRetryPolicy(ctx, resp, err)
}

// enter waits until a request to the host of a URL may be made, and returns what ends it.
func (c *Client) enter(ctx context.Context, rawURL string) (leave func(), err error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	if c.hosts == nil {
		c.hosts = make(map[string]chan struct{})
	}
	slots, ok := c.hosts[u.Host]
	if !ok {
		slots = make(chan struct{}, perHost)
		c.hosts[u.Host] = slots
	}
	c.mu.Unlock()
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
