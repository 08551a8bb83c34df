package fetch

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/hashicorp/go-retryablehttp"
)

// What can be known of a file without its bytes.

// A Head is what a server says of a file.
type Head struct {
	URL  string // where it is in the end
	Size int64  // in bytes; -1: the server does not say it
}

// Head asks whether a server has a file, without downloading it: by HEAD, or where that is
// refused by a request of one byte. ErrNotFound: it has not.
func (c *Client) Head(ctx context.Context, rawURL string) (Head, error) {
	if err := (Request{URL: rawURL}).Check(); err != nil {
		return Head{}, err
	}
	if head, ok, err := c.lockedHead(rawURL); ok || err != nil {
		if err != nil {
			err = fmt.Errorf("cannot look for %s: %w", rawURL, err)
		}
		return head, err
	}
	if c.Offline {
		return Head{}, fmt.Errorf("cannot look for %s: %w", rawURL, ErrOffline)
	}
	leave, err := c.enter(ctx, rawURL)
	if err != nil {
		return Head{}, err
	}
	defer leave()
	head, err := c.head(ctx, http.MethodHead, rawURL)
	if refused, ok := err.(statusError); ok && refused.code/100 == 4 && refused.code != http.StatusNotFound && refused.code != http.StatusGone || ok && refused.code == http.StatusNotImplemented {
		head, err = c.head(ctx, http.MethodGet, rawURL)
	}
	if head, err = c.writtenHead(rawURL, head, err); err != nil {
		return Head{}, fmt.Errorf("cannot look for %s: %w", rawURL, err)
	}
	return head, nil
}

func (c *Client) head(ctx context.Context, method, rawURL string) (Head, error) {
	req, err := retryablehttp.NewRequestWithContext(ctx, method, rawURL, nil)
	if err != nil {
		return Head{}, err
	}
	req.Header.Set("User-Agent", "imagebuilder")
	req.Header.Set("Accept-Encoding", "identity")
	if method == http.MethodGet {
		req.Header.Set("Range", "bytes=0-0")
	}
	resp, err := c.answer(req, nil)
	if err != nil {
		return Head{}, err
	}
	defer resp.Body.Close()
	head := Head{URL: resp.Request.URL.String(), Size: resp.ContentLength}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusPartialContent:
		head.Size = sizeOf(resp.Header.Get("Content-Range"))
	case http.StatusRequestedRangeNotSatisfiable: // an empty file has no first byte
		head.Size = 0
	default:
		return Head{}, statusError{resp.Status, resp.StatusCode}
	}
	return head, nil
}

// sizeOf is the size of the whole file in a Content-Range, or -1.
func sizeOf(contentRange string) int64 {
	_, text, _ := strings.Cut(contentRange, "/")
	size, err := strconv.ParseInt(text, 10, 64)
	if err != nil || size < 0 {
		return -1
	}
	return size
}
