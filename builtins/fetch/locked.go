package fetch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/lock"
)

// Downloads of a run that has a lock: what that says takes the place of servers, and what it does
// not say is written down, or is an error.

// notThere is the answer of a server that has no such file.
var notThere = statusError{"404 Not Found", http.StatusNotFound}

// Body returns the bytes that the lock has of a URL: from the cache, or from whoever serves them.
func (c *Client) Body(ctx context.Context, url string, content lock.Content) (*os.File, error) {
	if body, err := c.Lock.Bodies.Open(content); err == nil {
		return body, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		c.Log.Warn("what the lock has is damaged in the cache: it is downloaded again", "url", url, "cause", err)
	}
	if _, err := c.together(ctx, Request{URL: url}.normal()); err != nil {
		return nil, err
	}
	return c.Lock.Bodies.Open(content)
}

// lockedRequest is a request for what the lock says that its URL has. held tells whether it says
// anything; else the server is to be asked.
func (c *Client) lockedRequest(r Request) (locked Request, held bool, err error) {
	if c.Lock == nil {
		return r, false, nil
	}
	answer, held, err := c.Lock.Answer(r.URL)
	switch {
	case err != nil || !held:
		return r, held, err
	case answer.Gone:
		return r, true, notThere
	case r.SHA256 != "" && r.SHA256 != answer.SHA256:
		return r, true, WrongError{fmt.Errorf("%s says that it has the SHA-256 %s, not %s as it has to; lock anew with --update", c.Lock.Name, answer.SHA256, r.SHA256)}
	}
	if !r.Pinned() {
		r.Unvouched = true // it is as it was, and that says nothing of who has made it
	}
	r.SHA256 = answer.SHA256
	return r, true, nil
}

// written writes down what has become of a request, unless the lock says it already, and keeps the
// bytes.
func (c *Client) written(r Request, held bool, f Fetched, err error) (Fetched, error) {
	var status statusError
	switch {
	case c.Lock == nil:
		return f, err
	case err != nil && !held && errors.As(err, &status) && errors.Is(status, ErrNotFound):
		return f, errors.Join(c.Lock.NotThere(r.URL), err)
	case err != nil:
		return f, err
	}
	content := lock.Content{SHA256: f.SHA256, Size: f.Size}
	if !c.Lock.Bodies.Has(content) {
		if err := c.Lock.Bodies.Keep(f.Path, content); err != nil {
			return f, fmt.Errorf("cannot keep what was downloaded: %w", err)
		}
		now := time.Now() // a further name has changed the file after its note: see [layer.Intact]
		os.Chtimes(f.Note, now, now)
	}
	if held {
		f.URL = c.Lock.Moved(r.URL)
		return f, nil
	}
	c.Lock.LedTo(r.URL, f.URL)
	return f, c.Lock.Got(r.URL, content, f.known.LastModified)
}

// fromBody puts the body that a request asks for into dir, if there is one.
func (c *Client) fromBody(r Request, dir string, check check) (there bool, err error) {
	name := filepath.Join(c.Lock.Bodies.Dir, r.SHA256)
	st, err := os.Stat(name)
	if err != nil {
		return false, nil
	}
	content := lock.Content{SHA256: r.SHA256, Size: st.Size()}
	body, err := c.Lock.Bodies.Open(content)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			c.Log.Warn("what the lock has is damaged in the cache: it is downloaded again", "url", r.URL, "cause", err)
		}
		return false, nil
	}
	defer body.Close()
	p := &fragment{file: body, content: body}
	p.hashFor(r)
	if p.size, err = io.Copy(p.hashes(), body); err != nil {
		return true, err
	}
	if _, err := body.Seek(0, io.SeekStart); err != nil {
		return true, err
	}
	p.response.URL = c.Lock.Moved(r.URL)
	if err := p.verify(r, check); err != nil {
		return true, err
	}
	if err := c.Lock.Bodies.Copy(content, filepath.Join(dir, "file")); err != nil {
		return true, err
	}
	return true, writeResponse(dir, p.response)
}

// downloadLocked asks those that may have what the lock says, one after the other.
func (c *Client) downloadLocked(ctx context.Context, r Request, known response, dir string, check check) error {
	_, held, err := c.Lock.Answer(r.URL)
	if err != nil || !held {
		return errors.Join(err, c.downloadFrom(ctx, r, known, dir, check))
	}
	var errs []error
	for _, place := range c.Lock.Places(r.URL) {
		there := r
		there.URL = place
		err := c.downloadFrom(ctx, there, response{}, dir, check)
		if err == nil || context.Cause(ctx) != nil {
			return err
		}
		if place != r.URL {
			err = fmt.Errorf("%s: %w", place, err)
		}
		errs = append(errs, err)
	}
	return c.Lock.Lost(errs)
}

// lockedInputs are the inputs of what is made of a URL alone, and how long that is good for.
func (c *Client) lockedInputs(inputs []layer.Input, url string) ([]layer.Input, time.Duration, error) {
	if c.Lock == nil {
		return inputs, keyAge, nil
	}
	answer, held, err := c.Lock.Answer(url)
	if err != nil || !held {
		return inputs, keyAge, err
	}
	return append(inputs, layer.Input{Name: "sha256", Value: answer.SHA256}), 0, nil
}

// lockedHead is what the lock says of a file, if it says anything.
func (c *Client) lockedHead(url string) (head Head, ok bool, err error) {
	if c.Lock == nil {
		return Head{}, false, nil
	}
	size, answer, ok, err := c.Lock.Head(url)
	if err == nil && answer.Gone {
		err = notThere
	}
	return Head{URL: c.Lock.Moved(url), Size: size}, ok, err
}

// writtenHead writes down what a server has said of a file.
func (c *Client) writtenHead(url string, head Head, err error) (Head, error) {
	switch {
	case c.Lock == nil:
	case errors.Is(err, ErrNotFound):
		err = errors.Join(c.Lock.NotThere(url), err)
	case err == nil:
		c.Lock.LedTo(url, head.URL)
		err = c.Lock.Seen(url, head.Size)
	}
	return head, err
}

// maxManifest bounds the answers of registries that are written down.
const maxManifest = 64 << 20

// maxConfig is how large a blob may be that is read here: configurations of images. Layers are
// downloads.
const maxConfig = 4 << 20

// lockedRoundTrip answers requests of the protocol of registries. What they say of logins is
// neither needed nor written down.
func (c *Client) lockedRoundTrip(req *http.Request) (*http.Response, error) {
	url := req.URL.String()
	if blob := c.blobOf(req); blob != "" {
		return c.lockedBlob(req, blob)
	}
	lasting := strings.HasPrefix(req.URL.Path, "/v2/") && (strings.Contains(req.URL.Path, "/manifests/") || strings.HasSuffix(req.URL.Path, "/tags/list"))
	if !c.Lock.Record && req.URL.Path == "/v2/" { // is it a registry, by this scheme?
		if err := c.Lock.Knows(url); err != nil {
			return nil, err
		}
		return c.lockedResponse(req, lock.Answer{})
	}
	if !lasting {
		return c.roundTrip(req)
	}
	answer, held, err := c.Lock.Answer(url)
	switch {
	case held && err == nil:
		return c.lockedResponse(req, answer)
	case err != nil:
		return nil, err
	case req.Method != http.MethodGet:
		return c.roundTrip(req)
	}
	resp, err := c.roundTrip(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusNotFound {
		return resp, c.Lock.NotThere(url)
	}
	if resp.StatusCode != http.StatusOK {
		return resp, nil
	}
	return c.writtenResponse(resp, url)
}

// blobOf is the URL of the blob that a request asks for, whoever keeps it for the registry; "": it
// asks for none.
func (c *Client) blobOf(req *http.Request) string {
	url := req.URL.String()
	switch of, led := c.ledFrom.Load(url); {
	case req.Method != http.MethodGet:
		return ""
	case led:
		return of.(string)
	case strings.HasPrefix(req.URL.Path, "/v2/") && strings.Contains(req.URL.Path, "/blobs/"):
		return url
	}
	return ""
}

// lockedBlob answers a request for a blob. A small one is written down.
func (c *Client) lockedBlob(req *http.Request, blob string) (*http.Response, error) {
	answer, held, err := c.Lock.Answer(blob)
	if err != nil {
		return nil, err
	}
	if held {
		if body, err := c.Lock.Bodies.Open(answer.Content); err == nil {
			return &http.Response{
				Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header),
				ContentLength: answer.Size, Body: body, Request: req,
			}, nil
		}
	}
	resp, err := c.roundTrip(req)
	if err != nil {
		return nil, err
	}
	if to, err := resp.Location(); err == nil && resp.StatusCode/100 == 3 {
		c.ledFrom.Store(to.String(), blob)
	}
	if resp.StatusCode != http.StatusOK || resp.ContentLength < 0 || resp.ContentLength > maxConfig {
		return resp, nil
	}
	return c.writtenResponse(resp, blob)
}

// writtenResponse writes down what a registry has answered.
func (c *Client) writtenResponse(resp *http.Response, url string) (*http.Response, error) {
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest))
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(data))
	content, err := c.Lock.Bodies.Write(data)
	if err != nil {
		return nil, err
	}
	return resp, c.Lock.Got(url, content, "")
}

// lockedResponse is the answer of a registry as the lock has it.
func (c *Client) lockedResponse(req *http.Request, answer lock.Answer) (*http.Response, error) {
	resp := &http.Response{Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header), Body: http.NoBody, Request: req}
	if answer.Gone {
		resp.Status, resp.StatusCode = notThere.status, notThere.code
		return resp, nil
	}
	resp.Status, resp.StatusCode = "200 OK", http.StatusOK
	if answer.Content == (lock.Content{}) {
		return resp, nil
	}
	f, err := c.Fetch(req.Context(), Request{URL: req.URL.String()})
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(f.Path)
	if err != nil {
		return nil, err
	}
	var typed struct {
		MediaType string `json:"mediaType"`
	}
	json.Unmarshal(data, &typed) // what is no JSON has none
	resp.ContentLength = int64(len(data))
	resp.Header.Set("Content-Type", typed.MediaType)
	resp.Header.Set("Docker-Content-Digest", "sha256:"+answer.SHA256)
	if req.Method != http.MethodHead {
		resp.Body = io.NopCloser(bytes.NewReader(data))
	}
	return resp, nil
}
