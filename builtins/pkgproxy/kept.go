package pkgproxy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// Packages on disk: a file for each, named by the digest of its URL, with a header of headSize
// bytes, JSON and blanks, before the content.

// A head says what a file holds.
type head struct {
	URL      string `json:"url"`
	ETag     string `json:"etag,omitempty"`
	Modified string `json:"modified,omitempty"` // as the server has said it
	Size     int64  `json:"size"`
	SHA256   string `json:"sha256"`
}

const headSize = 4096

// unusedAfter is how long a package is kept that no build asks for.
const unusedAfter = 30 * 24 * time.Hour

// condition adds to a request that the server need not send what is kept. Without a word of
// the server on what that was, everything is sent.
func (h head) condition(header http.Header) {
	if h.ETag != "" {
		header.Set("If-None-Match", h.ETag)
	}
	if h.Modified != "" {
		header.Set("If-Modified-Since", h.Modified)
	}
}

func fileOf(url string) string {
	sum := sha256.Sum256([]byte(url))
	return hex.EncodeToString(sum[:])
}

// A packageFile is one that is kept, whole and as it came.
type packageFile struct {
	*os.File
	head head
}

// find returns the package of a URL, or nil. One that is damaged is none.
func (p *Proxy) find(url string) *packageFile {
	if p.refresh {
		return nil
	}
	f, err := p.kept.OpenFile(fileOf(url), unix.O_RDONLY, 0)
	if err != nil {
		return nil
	}
	found := &packageFile{File: f}
	if err := found.check(url); err != nil {
		p.log.Warn("the cache is damaged: a package is fetched again", "url", url, "cause", err)
		f.Close()
		return nil
	}
	for _, used := range []*os.File{f, p.kept.File()} {
		// nil is now; nothing depends on it if it cannot be said.
		unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", used.Fd()), nil, 0)
	}
	return found
}

// check reads it.
func (f *packageFile) check(url string) error {
	text := make([]byte, headSize)
	if _, err := io.ReadFull(f, text); err != nil {
		return err
	}
	if err := json.Unmarshal(bytes.TrimRight(text, " "), &f.head); err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	switch {
	case err != nil:
		return err
	case f.head.URL != url || n != f.head.Size || hex.EncodeToString(h.Sum(nil)) != f.head.SHA256:
		return errors.New("its content is not what was fetched")
	}
	return nil
}

// send sends it as the server has.
func (f *packageFile) send(w http.ResponseWriter) error {
	if _, err := f.Seek(headSize, io.SeekStart); err != nil {
		return err
	}
	for name, value := range map[string]string{
		"Content-Length": strconv.FormatInt(f.head.Size, 10), "Content-Type": "application/octet-stream", "ETag": f.head.ETag, "Last-Modified": f.head.Modified,
	} {
		if value != "" {
			w.Header().Set(name, value)
		}
	}
	w.WriteHeader(http.StatusOK)
	_, err := io.Copy(w, f.File)
	return err
}

// keep sends what a server sends, and keeps it if all of that has come. That it cannot be kept
// is no reason not to send it.
func (p *Proxy) keep(url string, answer *http.Response, w io.Writer) error {
	known := head{URL: url, ETag: answer.Header.Get("ETag"), Modified: answer.Header.Get("Last-Modified"), Size: answer.ContentLength}
	k, err := p.begin(known)
	if err != nil {
		p.log.Debug("a package is not kept", "url", url, "cause", err)
		_, err := io.Copy(w, answer.Body)
		return err
	}
	defer k.close()
	n, err := io.Copy(io.MultiWriter(w, k), answer.Body)
	if err == nil && n != answer.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if err := k.finish(); err != nil {
		p.log.Debug("a package is not kept", "url", url, "cause", err)
	}
	return nil
}

// A keeper writes one package beside its place.
type keeper struct {
	proxy *Proxy
	head  head
	file  *os.File
	sum   hash.Hash
	temp  string
	err   error // of writing, which does not end what is sent
}

func (p *Proxy) begin(h head) (*keeper, error) {
	// A name of its own: others may fetch the same.
	temp := dirfd.TempName(fmt.Sprintf("%s.%d.%d", fileOf(h.URL), os.Getpid(), time.Now().UnixNano()))
	f, err := p.kept.OpenFile(temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	k := &keeper{proxy: p, head: h, file: f, sum: sha256.New(), temp: temp}
	_, k.err = f.Seek(headSize, io.SeekStart)
	return k, nil
}

func (k *keeper) Write(b []byte) (int, error) {
	if k.err == nil {
		_, k.err = k.file.Write(b)
		k.sum.Write(b)
	}
	return len(b), nil
}

// finish gives the package its name. It is not synced: whoever reads it finds out whether it
// is whole.
func (k *keeper) finish() error {
	if k.err != nil {
		return k.err
	}
	k.head.SHA256 = hex.EncodeToString(k.sum.Sum(nil))
	text, err := json.Marshal(k.head)
	if err != nil {
		return err
	}
	if len(text) > headSize {
		return errors.New("its URL is too long")
	}
	if _, err := k.file.WriteAt(append(text, bytes.Repeat([]byte{' '}, headSize-len(text))...), 0); err != nil {
		return err
	}
	return k.proxy.kept.Rename(k.temp, fileOf(k.head.URL))
}

// close removes what was not finished.
func (k *keeper) close() {
	k.file.Close()
	k.proxy.kept.Remove(k.temp) // it has another name now if it is whole
}

// sweep removes what nobody has asked for for long.
func (p *Proxy) sweep() error {
	names, err := p.kept.ReadDir(".")
	for _, name := range names {
		st, serr := p.kept.Lstat(name)
		if serr == nil && time.Since(time.Unix(st.Mtim.Unix())) > unusedAfter {
			serr = p.kept.Remove(name)
		}
		if serr != nil && !errors.Is(serr, fs.ErrNotExist) {
			err = errors.Join(err, serr)
		}
	}
	return err
}
