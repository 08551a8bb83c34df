// Package fetch downloads files over http and https. What it has downloaded is kept
// in the store: a file known by its digest is never asked for again, any other is
// asked for by its validators, so that an unchanged one costs one short answer.
// Bytes are checked while they are written, by digests, checksum files and signatures, and
// only whole, checked files are ever seen. A server that goes nowhere is given up. What has
// to be signed, and by whom, is the policy of a [Trust].
package fetch

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/lock"
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
	Roots     *x509.CertPool    // who vouches for servers; nil: whom this machine trusts
	Wait      time.Duration     // before the first retry, doubled for each; 0: half a second
	MaxWait   time.Duration     // the longest that a server may ask for by Retry-After; 0: a minute
	Patience  time.Duration     // how long a server may take to answer, and for each further 64 KiB; 0: a minute

	// Lock says what servers answer, or writes it down; nil: they are asked, and that is all.
	Lock *lock.Session

	// Shared has files that others have downloaded; nil: there is none.
	Shared Shared

	// Offline asks nothing of any server: what the store has is taken as it is, and what it
	// has not is an error.
	Offline bool

	// GiveUp asks nothing more of a host that could not be reached once: there are many files
	// to ask for, or others who have them.
	GiveUp bool

	// StaleOK lets what the store has count where a server cannot be reached that would have to
	// say whether it has changed.
	StaleOK bool

	mu    sync.Mutex
	hosts map[string]chan struct{}
	seen  map[string]Fetched // by URL: within a run a URL means one file
	sets  map[string]*keySet // by the id of a trust and its key server
	said  map[string]bool    // what the user was told
	calls map[string]*call   // by request
	fresh map[string]bool    // SHA-256 of files that a server has sent in this run
	asker *asker
	down  sync.Map // why hosts could not be reached, which are not waited for again

	ledFrom sync.Map // blobs of a registry, by where it leads to for them
}

// Progress shows how far downloads are, and whatever else is counted in bytes. Its methods are called by several goroutines.
type Progress interface {
	// Start begins something of total bytes, -1 if that is not known. The writer gets
	// what arrives, or is done, and is closed at the end.
	Start(name string, total int64) io.WriteCloser
}

// A Fetched is a downloaded file. It is not to be changed.
type Fetched struct {
	Path     string // on the host
	Note     string // file beside it without which the next run does not trust it
	SHA256   string
	Size     int64
	URL      string // where it came from in the end
	Type     string // its media type, as the server says; "": it does not
	SignedBy string // fingerprint or id of the key by which it was verified; "": it was not

	known response
}

// response is what is kept of an answer beside its body, to ask for changes or the rest
// later.
type response struct {
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	SHA256       string `json:"sha256"`
	SHA512       string `json:"sha512,omitempty"` // if it was asked for
	Size         int64  `json:"size"`             // of the whole file; 0 or less: the server has not said it
	URL          string `json:"url,omitempty"`    // where the server has sent us
	Type         string `json:"type,omitempty"`

	Signed signed `json:"signed,omitzero"`

	// Plain says that it came by http although it was asked for by https.
	Plain bool `json:"plain,omitempty"`
}

// signed is how a file was verified.
type signed struct {
	Signature string `json:"signature"` // its SHA-256
	Keys      string `json:"keys"`      // the id of the trust
	Signer    string `json:"signer"`
}

// digestsOf tells whether the file of an answer has the digests of a request.
func (known response) digestsOf(r Request) bool {
	return (r.SHA256 == "" || r.SHA256 == known.SHA256) && (r.SHA512 == "" || r.SHA512 == known.SHA512)
}

// Fetch returns the file of a request, downloaded if need be. Who asks for one that is being
// downloaded waits for that.
func (c *Client) Fetch(ctx context.Context, r Request) (Fetched, error) {
	if err := r.Check(); err != nil {
		return Fetched{}, err
	}
	f, err := c.together(ctx, r.normal())
	if err != nil {
		err = fmt.Errorf("cannot download %s: %w", r.URL, err)
	}
	return f, err
}

// once returns the file of a request as it was got in this run, or gets it.
func (c *Client) once(ctx context.Context, r Request) (Fetched, error) {
	check, err := c.checkOf(ctx, r)
	if err != nil {
		return Fetched{}, err
	}
	r, held, err := c.lockedRequest(r)
	if err != nil {
		return Fetched{}, err
	}
	c.mu.Lock()
	f, ok := c.seen[r.URL]
	c.mu.Unlock()
	if c.Lock != nil && !held { // what is written down must still be so when it is asked for again
		ok = false
	}
	if !ok || !f.known.digestsOf(r) || !check.done(f.known) || f.known.Plain && r.private() {
		f, err = c.fetch(ctx, r, check)
		if f, err = c.written(r, held, f, err); err != nil {
			return f, err
		}
		c.mu.Lock()
		if c.seen == nil {
			c.seen = make(map[string]Fetched)
		}
		c.seen[r.URL] = f
		isNew := c.fresh[r.SHA256]
		c.mu.Unlock()
		if c.Shared != nil && r.SHA256 != "" {
			c.Shared.Keep(ctx, r.SHA256, f.Path, isNew)
		}
	}
	if check.signature != nil { // else the store may know of one that nobody asks for now
		f.SignedBy = f.known.Signed.Signer
	}
	return f, nil
}

// origin is what the file of a request is kept by in the store: its digests, whatever the
// URL, or the URL.
func origin(r Request) layer.Origin {
	o := layer.Origin{Name: "download", Summary: r.URL}
	if r.SHA256 != "" {
		o.Inputs = append(o.Inputs, layer.Input{Name: "sha256", Value: r.SHA256})
	}
	if r.SHA512 != "" {
		o.Inputs = append(o.Inputs, layer.Input{Name: "sha512", Value: r.SHA512})
	}
	if !r.Pinned() {
		o.Network, o.Inputs = true, []layer.Input{{Name: "url", Value: r.URL}}
	}
	return o
}

func (c *Client) fetch(ctx context.Context, r Request, check check) (Fetched, error) {
	e, err := c.Store.Revise(ctx, origin(r), func(old *layer.Entry, dir string) (bool, error) {
		if old == nil {
			return false, c.download(ctx, r, response{}, dir, check)
		}
		known, err := c.known(old.Data())
		if err != nil || !known.digestsOf(r) {
			c.Log.Warn("a cached download is damaged: downloading it again", "url", r.URL, "cause", err)
			return false, c.download(ctx, r, response{}, dir, check)
		}
		if !r.Pinned() && !c.Offline {
			if known.Plain && r.private() {
				return false, c.download(ctx, r, response{}, dir, check)
			}
			switch err := c.download(ctx, r, known, dir, check); {
			case Unreachable(err) && c.StaleOK:
				c.Log.Warn("taken to be as it was last seen", "url", r.URL, "cause", err)
			case !errors.Is(err, errNotModified):
				return false, Stale(err)
			}
		}
		if check.done(known) {
			return true, nil
		}
		return false, adopt(old.Data(), known, dir, check)
	})
	if err != nil {
		return Fetched{}, err
	}
	return fetched(e)
}

// adopt verifies the file of an entry that was not, or by something else, and makes it
// that of another.
func adopt(old string, known response, dir string, check check) error {
	file, err := os.Open(filepath.Join(old, "file"))
	if err != nil {
		return err
	}
	defer file.Close()
	if known.Signed, err = check.run(file); err != nil {
		return err
	}
	if err := os.Link(filepath.Join(old, "file"), filepath.Join(dir, "file")); err != nil {
		return err
	}
	return writeResponse(dir, known)
}

// fetched is the file of an entry.
func fetched(e *layer.Entry) (Fetched, error) {
	known, err := readResponse(e.Data())
	return Fetched{
		Path: filepath.Join(e.Data(), "file"), Note: filepath.Join(e.Data(), responseName),
		SHA256: known.SHA256, Size: known.Size, URL: known.URL, Type: known.Type, known: known,
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

// writeResponse is called last, so that whatever happens to the file is later; see
// [layer.Intact].
func writeResponse(dir string, known response) error {
	data, err := json.Marshal(known)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, responseName), data, 0o600)
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
	return c.read(ctx, Request{URL: rawURL, MaxSize: max})
}

// read is Read for a file of this machine, too.
func (c *Client) read(ctx context.Context, r Request) ([]byte, error) {
	if !IsFile(r.URL) {
		f, err := c.Fetch(ctx, r)
		if err != nil {
			return nil, err
		}
		return os.ReadFile(f.Path)
	}
	name, err := FilePath(r.URL)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, r.MaxSize+1))
	if err == nil && int64(len(data)) > r.MaxSize {
		err = fmt.Errorf("%s is larger than %d bytes", r.URL, r.MaxSize)
	}
	return data, err
}

// warn tells the user something once.
func (c *Client) warn(text string, args ...any) {
	id := fmt.Sprint(append([]any{text}, args...)...)
	c.mu.Lock()
	told := c.said[id]
	if c.said == nil {
		c.said = make(map[string]bool)
	}
	c.said[id] = true
	c.mu.Unlock()
	if !told {
		c.Log.Warn(text, args...)
	}
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
