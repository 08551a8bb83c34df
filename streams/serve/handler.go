package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// policy forbids pages of this server all but their own style sheet, script and images.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// cacheShort is how long clients may go by what they have before they ask whether it is still
// so. Images are no exception: whoever uploads can put another file in the place of one.
const cacheShort = "public, max-age=60, must-revalidate"

// types of files that the system may not know.
var types = map[string]string{
	".css":      "text/css; charset=utf-8",
	".gz":       "application/gzip",
	".html":     "text/html; charset=utf-8",
	".js":       "text/javascript; charset=utf-8",
	".json":     "application/json",
	".qcow2":    "application/octet-stream",
	".squashfs": "application/octet-stream",
	".vcdiff":   "application/octet-stream",
	".xz":       "application/x-xz",
}

// Handler returns the server's answers as a handler. Directories are not listed,
// names that start with a dot are not there, and no link is followed unless Links is
// set.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.log.Debug("Request", "method", r.Method, "path", r.URL.Path, "from", r.RemoteAddr)
		p := newPaced(w, s.opts.Stall)
		defer p.hurry()
		if r.ContentLength != 0 { // nobody wants to know what is in it
			p.control.SetReadDeadline(time.Now().Add(s.opts.Stall))
		}
		w = p
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		name, ok := clean(r.URL.Path)
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			refuse(w, http.StatusMethodNotAllowed)
		case !ok:
			refuse(w, http.StatusNotFound)
		default:
			s.serveName(w, r, name)
		}
	})
}

// serveName answers with a file or, where there is none, with what clients import.
func (s *Server) serveName(w http.ResponseWriter, r *http.Request, name string) {
	f, st, err := s.open(name)
	if err == nil {
		defer f.Close()
		s.serveFile(w, r, name, f, st)
		return
	}
	status := statusOf(err)
	if status == http.StatusNotFound {
		if i, err := s.openImage(name); err == nil {
			defer i.close()
			s.serveUnified(w, r, i)
			return
		}
		if s.serveImport(w, r, name) {
			return
		}
	}
	refuse(w, status)
}

// serveFile answers with a file, or with its compressed form.
func (s *Server) serveFile(w http.ResponseWriter, r *http.Request, name string, f *os.File, st fs.FileInfo) {
	h, suffix := w.Header(), ""
	h.Set("Content-Type", typeOf(name))
	h.Set("Cache-Control", cacheShort)
	if compressible(name) {
		h.Set("Vary", "Accept-Encoding")
		if zip, zst := s.compressed(r, name, st); zip != nil {
			defer zip.Close()
			h.Set("Content-Encoding", "gzip")
			f, st, suffix = zip, zst, "-gz"
		}
	}
	h.Set("ETag", etag(st, suffix))
	http.ServeContent(w, r, "", st.ModTime(), f)
}

// compressed returns the compressed form of a file, if there is one that the client
// takes. One that is older than the file is not of it.
func (s *Server) compressed(r *http.Request, name string, plain fs.FileInfo) (*os.File, fs.FileInfo) {
	if !acceptsGzip(r.Header.Values("Accept-Encoding")) {
		return nil, nil
	}
	f, st, err := s.open(name + ".gz")
	if err != nil {
		return nil, nil
	}
	if st.ModTime().Before(plain.ModTime()) {
		f.Close()
		return nil, nil
	}
	return f, st
}

func refuse(w http.ResponseWriter, status int) {
	http.Error(w, http.StatusText(status), status)
}

// clean returns the name of the file a path asks for.
func clean(urlPath string) (string, bool) {
	if strings.HasSuffix(urlPath, "/") {
		urlPath += "index.html"
	}
	name := strings.TrimPrefix(urlPath, "/")
	if name == "" || path.Clean(name) != name || strings.ContainsRune(name, 0) {
		return "", false
	}
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") {
			return "", false
		}
	}
	return name, true
}

var errNotFile = errors.New("not a regular file")

// open opens a regular file below the root, through no link that is not wanted.
func (s *Server) open(name string) (*os.File, fs.FileInfo, error) {
	f, err := s.files.Open(name)
	if err != nil {
		return nil, nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errNotFile
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, st, nil
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return http.StatusForbidden
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP), errors.Is(err, unix.EXDEV),
		errors.Is(err, unix.ENAMETOOLONG), errors.Is(err, errNotFile):
		return http.StatusNotFound
	}
	return http.StatusInternalServerError
}

func typeOf(name string) string {
	ext := path.Ext(name)
	if t, ok := types[ext]; ok {
		return t
	}
	if t := mime.TypeByExtension(ext); t != "" {
		return t
	}
	if ext == "" || ext == ".log" || ext == ".yaml" {
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// compressible tells whether a file may have a compressed form beside it that stands
// for it: the catalogs, the index and the page.
func compressible(name string) bool {
	switch path.Ext(name) {
	case ".json", ".html", ".css", ".js":
		return true
	}
	return false
}

// acceptsGzip tells whether a client takes gzip.
func acceptsGzip(headers []string) bool {
	any := false
	for value := range strings.SplitSeq(strings.Join(headers, ","), ",") {
		coding, weight, _ := strings.Cut(value, ";")
		_, q, weighted := strings.Cut(weight, "=")
		takes := !weighted || strings.Trim(q, " 0.") != "" // "q=0" is a refusal
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "gzip":
			return takes
		case "*":
			any = takes
		}
	}
	return any
}

// etag returns a strong validator. A file is not written to bit by bit once it has its name, so
// that it is told from any other by inode, time and size.
func etag(st fs.FileInfo, suffix string) string {
	var ino uint64
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		ino = sys.Ino
	}
	return fmt.Sprintf(`"%x-%x-%x%s"`, ino, st.ModTime().UnixNano(), st.Size(), suffix)
}
