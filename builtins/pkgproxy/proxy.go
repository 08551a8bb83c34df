// Package pkgproxy is how programs of steps fetch packages over plain HTTP: a proxy on the
// loopback interface that keeps them for later builds, whatever package manager asks. It is the
// only one to write what is kept, from what a server has sent, so that no build can put
// anything there for another one; and package managers verify what they get from it like what
// comes from anywhere. Whether a step may reach the network is not its business, and neither
// is HTTPS, which it does not see.
package pkgproxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"path"
	"slices"
	"strings"
	"time"

	"imagebuilder/builtins/dirfd"
)

// A Proxy is one that listens.
type Proxy struct {
	kept     *dirfd.Dir
	log      *slog.Logger
	refresh  bool
	upstream *http.Transport
	pass     *httputil.ReverseProxy
	listener net.Listener
	server   *http.Server
}

// Options say how a Proxy works.
type Options struct {
	Dir     string       // where packages are kept
	Refresh bool         // take nothing from there
	Log     *slog.Logger // nil: none
}

// Start starts a proxy on a port that is free.
func Start(o Options) (*Proxy, error) {
	kept, err := dirfd.Open(o.Dir, dirfd.Refuse)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, kept.Close())
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	upstream := Upstream()
	p := &Proxy{kept: kept, log: o.Log, refresh: o.Refresh, upstream: upstream, listener: listener}
	p.pass = &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.Out.Host = r.In.Host },
		Transport: upstream,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			http.Error(w, "imagebuilder: "+err.Error(), http.StatusBadGateway)
		},
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go p.server.Serve(listener)
	return p, nil
}

// URL is what programs are told by http_proxy.
func (p *Proxy) URL() string { return "http://" + p.listener.Addr().String() }

// Close ends the proxy, and what is still asked of it.
func (p *Proxy) Close() error {
	err := p.server.Close()
	p.upstream.CloseIdleConnections()
	return errors.Join(err, p.sweep(), p.kept.Close())
}

// suffixes are what names of packages end in. Their content never changes, as opposed to that
// of indexes.
var suffixes = []string{".apk", ".deb", ".drpm", ".ipk", ".pkg.tar.xz", ".pkg.tar.zst", ".rpm", ".udeb", ".xbps"}

// isPackage tells whether a request is one for a whole package.
func isPackage(r *http.Request) bool {
	return r.Method == http.MethodGet && r.URL.RawQuery == "" && r.Header.Get("Range") == "" && r.Header.Get("Authorization") == "" &&
		IsPackage(r.URL.Path)
}

// IsPackage tells whether a path ends as those of packages do.
func IsPackage(path string) bool {
	return slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(path, s) })
}

// ServeHTTP answers one request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Scheme != "http" || r.URL.Host == "": // as nobody asks a proxy
		http.Error(w, "this is a proxy for plain HTTP", http.StatusBadRequest)
	case !isPackage(r):
		p.pass.ServeHTTP(w, r)
	default:
		if err := p.serve(w, r); err != nil {
			p.log.Debug("a package was not fetched", "url", r.URL.String(), "cause", err)
			panic(http.ErrAbortHandler) // what was sent is not whole
		}
	}
}

// serve sends a package: the one that is kept, if the server has no other, else what it sends.
func (p *Proxy) serve(w http.ResponseWriter, r *http.Request) error {
	url := r.URL.String()
	kept := p.find(url)
	if kept != nil {
		defer kept.Close()
	}
	answer, err := p.ask(r.Context(), url, r.Header.Get("User-Agent"), kept)
	if err != nil {
		if kept == nil || r.Context().Err() != nil {
			http.Error(w, "imagebuilder: "+err.Error(), http.StatusBadGateway)
			return nil
		}
		p.log.Warn("taken to be as it was fetched before", "package", path.Base(r.URL.Path), "cause", err)
		return kept.send(w)
	}
	defer answer.Body.Close()
	if kept != nil && answer.StatusCode == http.StatusNotModified {
		return kept.send(w)
	}
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	if answer.StatusCode != http.StatusOK || answer.ContentLength < 0 {
		_, err := io.Copy(w, answer.Body)
		return err
	}
	return p.keep(url, answer, w)
}

// ask asks the server for a package, if it has another than the one that is kept.
func (p *Proxy) ask(ctx context.Context, url, agent string, kept *packageFile) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", agent)
	if kept != nil {
		kept.head.condition(r.Header)
	}
	return p.upstream.RoundTrip(r)
}
