package pkgproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	neturl "net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"imagebuilder/builtins/lock"
	"imagebuilder/builtins/problems"
)

// The proxy of a step whose network is locked: what its programs get is what the lock has, or is
// written down there.

// A Locked is the only way out that programs of one step have.
type Locked struct {
	Lock *lock.Session
	Log  *slog.Logger

	// Body returns what the lock says that a URL has, wherever that can be had.
	Body func(ctx context.Context, url string, c lock.Content) (*os.File, error)

	// Modified is when all that the lock has was modified, as programs are told; the zero time: they
	// are not.
	Modified time.Time

	Upstream http.RoundTripper // who is asked while the lock is made

	mu         sync.Mutex
	called     bool // programs know of the proxy
	wrong      few  // why the step is not what it was
	refused    few  // what it may have gone on without
	unanswered map[string]error
	asked      map[string]http.Header
}

// Upstream is the usual way to servers.
func Upstream() *http.Transport {
	upstream := http.DefaultTransport.(*http.Transport).Clone() // behind the caller's own proxy, if there is one
	upstream.DisableCompression = true                          // what is sent is passed on as it is
	upstream.ResponseHeaderTimeout = time.Minute
	return upstream
}

// Serve answers what comes to a listener until that is closed.
func (l *Locked) Serve(listener net.Listener) {
	server := &http.Server{Handler: l, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	server.Serve(listener)
	server.Close()
}

// Explain is the error of a step after its programs have ended with one, or with none: what they
// did not get as it was counts, even if they have gone on. A lock that has nothing of what a server
// could not say could not be run from.
func (l *Locked) Explain(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, url := range slices.Sorted(maps.Keys(l.unanswered)) {
		l.wrong.add(fmt.Errorf("cannot lock %s: %w; run it again", url, l.unanswered[url]))
	}
	switch {
	case len(l.wrong.errs) > 0:
		return problems.Join(append(l.wrong.list(), err)...)
	case err != nil && len(l.refused.errs) > 0:
		return problems.Join(append(l.refused.list(), err)...)
	}
	for _, refused := range l.refused.list() {
		l.Log.Warn("a program has gone on without what it asked for", "cause", refused)
	}
	return err
}

// Called tells whether any program has asked for anything.
func (l *Locked) Called() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.called
}

// few are different errors of one kind. A program whose archive is gone meets hundreds.
type few struct {
	errs []error
	more bool
}

func (f *few) add(err error) {
	for _, other := range f.errs {
		if other.Error() == err.Error() {
			return
		}
	}
	if len(f.errs) == 5 {
		f.more = true
		return
	}
	f.errs = append(f.errs, err)
}

func (f *few) list() []error {
	if !f.more {
		return f.errs
	}
	return append(slices.Clone(f.errs), errors.New("and more like these"))
}

// fail tells a program, and keeps for the end of the step, that it does not get something.
func (l *Locked) fail(w http.ResponseWriter, url string, err error) {
	err = fmt.Errorf("cannot fetch %s: %w", url, err)
	l.mu.Lock()
	l.wrong.add(err)
	l.mu.Unlock()
	http.Error(w, "imagebuilder: "+err.Error(), http.StatusForbidden)
}

// refuse tells a program what it must not ask for.
func (l *Locked) refuse(w http.ResponseWriter, status int, err error) {
	l.mu.Lock()
	l.refused.add(err)
	l.mu.Unlock()
	http.Error(w, "imagebuilder: "+err.Error(), status)
}

// ServeHTTP answers one request.
func (l *Locked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	url := r.URL.String()
	l.mu.Lock()
	l.called = true
	l.mu.Unlock()
	switch {
	case r.Method == http.MethodConnect:
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		l.refuse(w, http.StatusForbidden, fmt.Errorf("a program wants to speak https with %s itself, which cannot be locked: name the archive by http, as its packages are signed, or use download() in the recipe", host))
		return
	case r.URL.Scheme != "http" || r.URL.Host == "": // as nobody asks a proxy
		http.Error(w, "this is a proxy for plain HTTP", http.StatusBadRequest)
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		l.refuse(w, http.StatusMethodNotAllowed, fmt.Errorf("a program wants to %s to %s, which cannot be locked: only GET and HEAD can", r.Method, url))
		return
	}
	answer, held, err := l.Lock.Answer(url)
	switch {
	case err != nil:
		l.fail(w, url, err)
	case !held:
		l.record(w, r, url)
	case answer.Gone:
		http.Error(w, "imagebuilder: the lock says that it is not there", http.StatusNotFound)
	default:
		body, err := l.Body(r.Context(), url, answer.Content)
		if err != nil {
			if r.Context().Err() == nil { // else the program has gone away
				l.fail(w, url, err)
			}
			return
		}
		defer body.Close()
		l.send(w, r, body, answer.Content, l.Modified)
	}
}

// send sends a body, or the range of it that is asked for. What the program has already does not
// matter: that is of another time.
func (l *Locked) send(w http.ResponseWriter, r *http.Request, body io.ReadSeeker, c lock.Content, modified time.Time) {
	for _, name := range conditions {
		r.Header.Del(name)
	}
	w.Header().Set("ETag", strconv.Quote(c.SHA256))
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/octet-stream")
	}
	http.ServeContent(w, r, "", modified, body)
}

// conditions are the headers by which a program says what it has.
var conditions = []string{"If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since"}

// notPassed are the headers that are of a connection, or ask for something else than the file.
var notPassed = append([]string{"Accept-Encoding", "Connection", "If-Range", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection", "Range", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade"}, conditions...)

// record asks the server, passes on what it says, and writes it down.
func (l *Locked) record(w http.ResponseWriter, r *http.Request, url string) {
	before, again := l.Lock.Asked(url)
	answer, err := l.ask(r, url, again)
	if err != nil {
		if r.Context().Err() == nil { // else the program has gone away
			l.answered(url, fmt.Errorf("the server cannot be reached: %w", withoutURL(err)))
		}
		http.Error(w, "imagebuilder: "+err.Error(), http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	l.answered(url, nil)
	switch code := answer.StatusCode; {
	case code == http.StatusOK:
		l.pass(w, r, url, answer)
	case code == http.StatusNotModified:
		body, err := l.Lock.Bodies.Open(before)
		if err != nil {
			l.fail(w, url, err)
			return
		}
		defer body.Close()
		modified, _ := http.ParseTime(answer.Header.Get("Last-Modified"))
		l.send(w, r, body, before, modified)
	case isLasting(code):
		if err := l.Lock.NotThere(url); err != nil {
			l.fail(w, url, err)
			return
		}
		http.Error(w, "imagebuilder: the server says "+answer.Status, code)
	default:
		l.answered(url, fmt.Errorf("the server says %s", answer.Status))
		w.WriteHeader(code)
		io.Copy(w, answer.Body)
	}
}

// answered notes why a server has not said what it has; nil: it has.
func (l *Locked) answered(url string, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if why == nil {
		delete(l.unanswered, url)
		return
	}
	if l.unanswered == nil {
		l.unanswered = make(map[string]error)
	}
	l.unanswered[url] = why
}

// isLasting tells whether an answer says that there is nothing for anybody, as opposed to one for a
// moment, or for who says no password.
func isLasting(code int) bool {
	switch code {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired, http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return code/100 == 4
}

// withoutURL is the cause of an error of a request whose URL is said anyhow.
func withoutURL(err error) error {
	var of *neturl.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// ask asks the server for the whole file, whatever the program has of it, or whether it is still
// what it has sent before in this run.
func (l *Locked) ask(r *http.Request, url string, again bool) (*http.Response, error) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header = r.Header.Clone()
	for _, name := range notPassed {
		req.Header.Del(name)
	}
	if again {
		l.mu.Lock()
		known := l.asked[url]
		l.mu.Unlock()
		head{ETag: known.Get("ETag"), Modified: known.Get("Last-Modified")}.condition(req.Header)
	}
	return (&http.Client{Transport: l.Upstream}).Do(req)
}

// pass passes on the file that a server sends. A program that asks for a part, or for none, waits
// until all has come.
func (l *Locked) pass(w http.ResponseWriter, r *http.Request, url string, answer *http.Response) {
	body, err := l.Lock.Bodies.Create()
	if err != nil {
		l.fail(w, url, err)
		return
	}
	defer body.Close()
	for _, name := range []string{"Content-Type", "Last-Modified"} {
		if value := answer.Header.Get(name); value != "" {
			w.Header().Set(name, value)
		}
	}
	streams := r.Method == http.MethodGet && r.Header.Get("Range") == ""
	var to io.Writer = body
	if streams {
		if answer.ContentLength >= 0 {
			w.Header().Set("Content-Length", strconv.FormatInt(answer.ContentLength, 10))
		}
		w.WriteHeader(http.StatusOK)
		to = io.MultiWriter(body, w)
	}
	n, err := io.CopyBuffer(to, struct{ io.Reader }{answer.Body}, make([]byte, 128<<10))
	if err == nil && answer.ContentLength >= 0 && n != answer.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		l.Log.Debug("an answer was not passed on", "url", url, "cause", err)
		panic(http.ErrAbortHandler) // what was sent is not whole
	}
	content, err := body.Finish()
	if err == nil {
		err = l.Lock.Got(url, content, answer.Header.Get("Last-Modified"))
	}
	if err != nil {
		l.mu.Lock()
		l.wrong.add(fmt.Errorf("cannot fetch %s: %w", url, err))
		l.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	l.mu.Lock()
	if l.asked == nil {
		l.asked = make(map[string]http.Header)
	}
	l.asked[url] = answer.Header
	l.mu.Unlock()
	if streams {
		return
	}
	whole, err := l.Lock.Bodies.Open(content)
	if err != nil {
		l.fail(w, url, errors.Join(err))
		return
	}
	defer whole.Close()
	modified, _ := http.ParseTime(answer.Header.Get("Last-Modified"))
	l.send(w, r, whole, content, modified)
}
