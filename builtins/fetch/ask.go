package fetch

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

// How servers are asked: how often, how many at a time, over which connections.

// An asker makes requests again and again: transport errors and answers that a later try may
// not get are tried again, with growing pauses or as Retry-After says.
type asker struct {
	whole *retryablehttp.Client // follows redirections, and begins anew where they do
	hop   *retryablehttp.Client // leaves them to who asks
}

func (c *Client) ask() *asker {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asker == nil {
		transport := c.Transport
		if transport == nil {
			transport = connections(retryablehttp.NewClient().HTTPClient.Transport, c.Roots)
		}
		transport = patient{transport, cmp.Or(c.Patience, defaultPatience)}
		c.asker = &asker{c.retrying(&http.Client{Transport: transport, CheckRedirect: limitRedirects}), c.retrying(&http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		})}
	}
	return c.asker
}

var errRedirects = errors.New("it redirects more than 10 times")

func limitRedirects(_ *http.Request, before []*http.Request) error {
	if len(before) > 10 {
		return errRedirects
	}
	return nil
}

func (c *Client) retrying(once *http.Client) *retryablehttp.Client {
	retry := retryablehttp.NewClient()
	retry.HTTPClient = once
	retry.Logger = nil
	retry.RetryMax = retries
	retry.RetryWaitMin = c.wait()
	retry.CheckRetry = c.worthRetrying
	retry.Backoff = c.backoff
	retry.ErrorHandler = retryablehttp.PassthroughErrorHandler
	return retry
}

// answer returns what a server says to a request in the end, redirections followed. via makes
// the request if it is not nil.
func (c *Client) answer(req *retryablehttp.Request, via http.RoundTripper) (*http.Response, error) {
	if via == nil {
		if err := c.gaveUp(req.URL.Host); err != nil {
			return nil, err
		}
		resp, err := c.ask().whole.Do(req)
		if err != nil {
			err = c.unreachable(req.Request, err)
		}
		return resp, err
	}
	resp, err := (&http.Client{Transport: via}).Do(req.Request)
	if err != nil {
		if cause := context.Cause(req.Context()); cause != nil {
			return nil, cause
		}
		err = withoutURL(err)
	}
	return resp, err
}

// RoundTrip makes a request as those of downloads are made: with patience, retries and pauses.
// It is for protocols of which something else does the rest, such as redirections. An answer
// that a later try may not get is an error, which [Unreachable] tells.
func (c *Client) RoundTrip(req *http.Request) (*http.Response, error) {
	if c.Lock != nil {
		return c.lockedRoundTrip(req)
	}
	return c.roundTrip(req)
}

func (c *Client) roundTrip(req *http.Request) (*http.Response, error) {
	if c.Offline {
		return nil, ErrOffline
	}
	if req.Body != nil {
		defer req.Body.Close()
	}
	if err := c.gaveUp(req.URL.Host); err != nil {
		return nil, err
	}
	again, err := retryablehttp.FromRequest(req.WithContext(req.Context())) // a copy: it gets a body for each try
	if err != nil {
		return nil, err
	}
	resp, err := c.ask().hop.Do(again)
	if err != nil {
		return nil, c.unreachable(req, err)
	}
	resp.Request = req
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= http.StatusInternalServerError {
		resp.Body.Close()
		return nil, statusError{resp.Status, resp.StatusCode}
	}
	return resp, nil
}

// connections gives each download a connection of its own: with HTTP/2 all those from one
// host would share one, and the speed that a server or the way there allows to that.
func connections(usual http.RoundTripper, roots *x509.CertPool) http.RoundTripper {
	t, ok := usual.(*http.Transport)
	if !ok {
		return usual
	}
	t = t.Clone()
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.TLSClientConfig = &tls.Config{RootCAs: roots}
	t.MaxIdleConnsPerHost = perHost
	t.ReadBufferSize = bufferSize
	return t
}

// bufferSize is how much is read and written at once.
const bufferSize = 128 << 10

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

func (c *Client) worthRetrying(ctx context.Context, resp *http.Response, err error) (bool, error) {
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return false, nil // a name that does not exist will not exist in a second
	}
	if errors.Is(err, http.ErrSchemeMismatch) || errors.Is(err, errRedirects) {
		return false, nil // nor will it speak https, or lead elsewhere
	}
	var request *url.Error
	if errors.As(err, &request) {
		if u, bad := url.Parse(request.URL); bad == nil {
			if _, down := c.down.Load(u.Host); down {
				return false, nil // it was waited for before
			}
		}
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
