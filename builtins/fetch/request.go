package fetch

import (
	"cmp"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// What is wanted, and what can be known to be wrong with it before anybody is asked.

// A Request is one file wanted.
type Request struct {
	URL       string
	SHA256    string // 64 hex digits the file must have; empty: any, but see whether it changed
	SHA512    string // 128 hex digits, in the same way
	Signature string // URL of a detached signature, which counts if Trust has keys
	Trust     *Trust // nil: nothing is asked of where the file comes from
	Size      int64  // in bytes, of which less is a download that was cut off; 0: it is not known
	MaxSize   int64  // in bytes, if the size is not known; 0: DefaultMaxSize
	Unvouched bool   // the digests are not what Trust asks for: they tell a whole file from a damaged one
	NoPage    bool   // an HTML page is not the file, unless its name or digest says so
	Label     string // what its progress is called; "": the last element of where it comes from

	// Via is what makes its requests, nil: the client as it is. One that adds credentials is put
	// over [Client.RoundTrip], and is for files that are known by a digest: any other would be
	// kept by its URL for whoever asks.
	Via http.RoundTripper
}

// Check finds what is wrong with a request without making it.
func (r Request) Check() error {
	if err := CheckURL(r.URL); err != nil {
		return err
	}
	return r.CheckContent(false)
}

// CheckContent is Check but for the URL itself. listed says that there will be a digest, from
// a checksum file that is trusted.
func (r Request) CheckContent(listed bool) error {
	if err := CheckDigest(r.SHA256); err != nil {
		return err
	}
	if err := decodeHex(r.SHA512, 2*sha512.Size, "SHA-512"); err != nil {
		return err
	}
	if r.Signature != "" {
		if err := checkAnyURL(r.Signature); err != nil {
			return fmt.Errorf("signature: %w", err)
		}
	}
	if r.Trust == nil || listed || r.vouched() {
		return nil
	}
	if err := r.Trust.Check(r.URL); err != nil || r.Signature != "" {
		return err
	}
	return r.Trust.CheckUnsigned(r.URL)
}

// CheckURL finds what is wrong with the URL of something to download.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		return err
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("not an http or https URL: %q", text)
	}
	return nil
}

// checkAnyURL is CheckURL for what may be a file of this machine as well.
func checkAnyURL(text string) error {
	if IsFile(text) {
		_, err := FilePath(text)
		return err
	}
	return CheckURL(text)
}

// CheckDigest finds what is wrong with a SHA-256 in hexadecimal, unless it is empty.
func CheckDigest(digest string) error { return decodeHex(digest, 2*sha256.Size, "SHA-256") }

// normal is the request in one of the forms that mean the same.
func (r Request) normal() Request {
	r.SHA256, r.SHA512 = strings.ToLower(r.SHA256), strings.ToLower(r.SHA512)
	r.MaxSize = cmp.Or(r.Size, r.MaxSize, DefaultMaxSize)
	return r
}

// Pinned tells whether only one content can be the file.
func (r Request) Pinned() bool { return r.SHA256 != "" || r.SHA512 != "" }

// vouched tells whether that content is known from who is trusted.
func (r Request) vouched() bool { return r.Pinned() && !r.Unvouched }
