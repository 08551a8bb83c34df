package fetch

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Reach asks whether a server answers at all, within a time, and returns the status of its
// answer, such as "404 Not Found". Nothing is tried again: this is for people who wait to
// hear what is wrong, not for builds.
func Reach(ctx context.Context, url string, within time.Duration) (status string, err error) {
	ctx, stop := context.WithTimeoutCause(ctx, within, fmt.Errorf("no answer within %v", within))
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, url, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("User-Agent", "imagebuilder")
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableKeepAlives = true
	resp, err := transport.RoundTrip(req)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return "", cause
	}
	if err != nil {
		return "", err
	}
	resp.Body.Close()
	return resp.Status, nil
}
