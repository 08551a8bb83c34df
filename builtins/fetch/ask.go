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
		c.retry.CheckRetry = c.worthRetrying
		c.retry.Backoff = c.backoff
		c.retry.ErrorHandler = retryablehttp.PassthroughErrorHandler
		transport := c.Transport
		if transport == nil {
			transport = connections(c.retry.HTTPClient.Transport, c.Roots)
		}
		c.retry.HTTPClient.Transport = patient{transport, cmp.Or(c.Patience, defaultPatience)}
	}
	return c.retry
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
