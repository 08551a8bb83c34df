package fetch

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
)

// How files are verified by what is published beside them: a detached signature, or a
// checksum file, which may be signed itself.

// private tells whether the https of its URL is all that a file is trusted for.
func (r Request) private() bool {
	return r.Trust != nil && !r.Trust.Skip && !r.Trust.Unsigned && !r.pinned() && isHTTPS(r.URL) &&
		(r.Signature == "" || !r.Trust.Verifies())
}

// A check is that of a file by its signature; the zero value checks nothing.
type check struct {
	url       string // of the signature
	digest    string // of its bytes
	keys      string // the id of the trust
	signature signature
	set       func() (*keySet, error)
}

// checkOf gets ready for the check that a request asks for. Keys are looked up only where
// there is something to check.
func (c *Client) checkOf(ctx context.Context, r Request) (check, error) {
	if r.Trust == nil {
		return check{}, nil
	}
	if r.Signature == "" || !r.Trust.Verifies() {
		if r.Trust.Verifies() && !r.pinned() {
			c.warn("there is no signature, so that the keys are not used", "url", r.URL)
		}
		return check{}, nil
	}
	text, err := c.readSignature(ctx, r.Signature)
	if err != nil {
		return check{}, err
	}
	sig, err := parseSignature(text)
	if err != nil {
		return check{}, fmt.Errorf("%s: %w", r.Signature, err)
	}
	able, err := c.able(ctx, sig, *r.Trust, r.URL)
	if err != nil || !able {
		return check{}, err
	}
	sum := sha256.Sum256(text)
	return check{r.Signature, hex.EncodeToString(sum[:]), r.Trust.id(), sig, func() (*keySet, error) { return c.keys(ctx, *r.Trust) }}, nil
}

// readSignature returns a detached signature.
func (c *Client) readSignature(ctx context.Context, url string) ([]byte, error) {
	text, err := c.read(ctx, Request{URL: url, MaxSize: maxSignature, NoPage: true})
	if errors.Is(err, ErrNotFound) {
		return nil, fmt.Errorf("its signature is missing: %w", err)
	}
	return text, err
}

// able tells whether there is any key for a signature. Without one the way that a file has
// come counts.
func (c *Client) able(ctx context.Context, sig signature, t Trust, url string) (bool, error) {
	kinds := new(keySet)
	for _, key := range t.Keys {
		if isSignifyKey(key) {
			kinds.signify = make([]signifyKey, 1)
		} else {
			kinds.openpgp = append(kinds.openpgp, nil)
		}
	}
	if sig.known(kinds) {
		return true, nil
	}
	if !private(url) {
		return false, fmt.Errorf("its signature is of %s, and none of the keys given is", sig.kind())
	}
	c.warn("the signature is not verified: none of the keys given is of its kind", "url", url, "kind", sig.kind())
	return false, nil
}

// done tells whether a file was checked so before.
func (k check) done(known response) bool {
	return k.signature == nil || known.Signed.Signer != "" && known.Signed.Signature == k.digest && known.Signed.Keys == k.keys
}

// run checks a file.
func (k check) run(file io.ReadSeeker) (signed, error) {
	if k.signature == nil {
		return signed{}, nil
	}
	set, err := k.set()
	if err != nil {
		return signed{}, err
	}
	signer, err := k.signature.check(set, file)
	if err != nil {
		return signed{}, WrongError{fmt.Errorf("%w (%s)", err, k.url)}
	}
	return signed{k.digest, k.keys, signer}, nil
}

// Verify checks a file of this machine as if it had been downloaded for a request.
func (c *Client) Verify(ctx context.Context, r Request, name string) (Fetched, error) {
	r.SHA256, r.SHA512 = strings.ToLower(r.SHA256), strings.ToLower(r.SHA512)
	check, err := c.checkOf(ctx, r)
	if err != nil {
		return Fetched{}, err
	}
	file, err := os.Open(name)
	if err != nil {
		return Fetched{}, err
	}
	defer file.Close()
	p := &fragment{file: file}
	p.hashFor(r)
	if p.size, err = io.Copy(p.hashes(), file); err != nil {
		return Fetched{}, err
	}
	again := &hashed{file, sha256.New()}
	p.content = again
	if err := p.verify(r, check); err != nil {
		return Fetched{}, err
	}
	if check.signature != nil && hex.EncodeToString(again.hash.Sum(nil)) != p.response.SHA256 {
		return Fetched{}, errors.New("it was changed while it was read")
	}
	return Fetched{Path: name, SHA256: p.response.SHA256, Size: p.size, SignedBy: p.response.Signed.Signer}, nil
}

// hashed takes the digest of what is read of a file, from its beginning.
type hashed struct {
	file *os.File
	hash hash.Hash
}

func (h *hashed) Read(b []byte) (int, error) {
	n, err := h.file.Read(b)
	h.hash.Write(b[:n])
	return n, err
}

func (h *hashed) Seek(offset int64, whence int) (int64, error) {
	h.hash.Reset()
	return h.file.Seek(offset, whence)
}

// Inline and MaybeInline are signatures of a checksum file that are in it.
const (
	Inline      = "inline"  // there must be one
	MaybeInline = "inline?" // if there is one, it must be right
)

// Checksums is a file with the digests of others.
type Checksums struct {
	URL       string
	Algorithm string // "sha256" or "sha512"
	Signature string // URL of a detached one, Inline, MaybeInline, or "": there is none
	Trust     *Trust // nil: nothing is asked of where the file comes from
	Optional  bool   // it need not be there
}

// Check finds what is wrong with it before anything is asked of a server.
func (s Checksums) Check() error {
	if err := checkAnyURL(s.URL); err != nil {
		return err
	}
	if err := CheckAlgorithm(s.Algorithm); err != nil {
		return err
	}
	if s.Signature != "" && s.Signature != Inline && s.Signature != MaybeInline {
		if err := checkAnyURL(s.Signature); err != nil {
			return fmt.Errorf("signature: %w", err)
		}
	}
	if s.Trust == nil {
		return nil
	}
	if err := s.Trust.Check(s.URL); err != nil || s.Signature != "" {
		return err
	}
	return s.Trust.CheckUnsigned(s.URL)
}

// A Listed is what a checksum file says of a file.
type Listed struct {
	SHA256, SHA512 string // that which was asked for, in lower case; both empty: there is no checksum file
	SignedBy       string // the key that says so; "": it was not verified
}

// Narrow adds what a checksum file says to a request. It must not contradict that.
func (r *Request) Narrow(l Listed) error {
	for _, d := range []struct{ mine, its *string }{{&r.SHA256, &l.SHA256}, {&r.SHA512, &l.SHA512}} {
		if *d.mine != "" && *d.its != "" && !strings.EqualFold(*d.mine, *d.its) {
			return fmt.Errorf("it says that the file has the digest %s, not %s", *d.its, *d.mine)
		}
		*d.mine = cmp.Or(*d.mine, *d.its)
	}
	return nil
}

// Listed looks for the digest of a file, by its URL, in a checksum file.
func (c *Client) Listed(ctx context.Context, s Checksums, file string) (Listed, error) {
	if err := s.Check(); err != nil {
		return Listed{}, err
	}
	text, signer, err := c.readChecksums(ctx, s)
	if s.Optional && errors.Is(err, ErrNotFound) {
		return Listed{}, nil
	}
	if err != nil {
		return Listed{}, fmt.Errorf("cannot verify %s: %w", file, err)
	}
	sum, err := Checksum(text, s.URL, file, s.Algorithm)
	if err != nil {
		return Listed{}, fmt.Errorf("cannot verify %s by %s: %w", file, s.URL, err)
	}
	if s.Algorithm == "sha512" {
		return Listed{SHA512: sum, SignedBy: signer}, nil
	}
	return Listed{SHA256: sum, SignedBy: signer}, nil
}

// readChecksums returns the verified text of a checksum file, and by which key it is.
func (c *Client) readChecksums(ctx context.Context, s Checksums) (text []byte, signer string, err error) {
	r := Request{URL: s.URL, MaxSize: maxMessage, NoPage: true}
	data, err := c.read(ctx, r)
	if err != nil {
		return nil, "", err
	}
	m, err := parseMessage(data)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", s.URL, err)
	}
	if s.Signature == Inline && m.signature == nil {
		return nil, "", fmt.Errorf("%s is not signed: it has to be a signed message", s.URL)
	}
	// Where no signature is checked, the way that the file has come is.
	unverified := func() ([]byte, string, error) {
		r.Trust = s.Trust
		_, err := c.read(ctx, r)
		return m.text, "", err
	}
	if s.Trust == nil || !s.Trust.Verifies() || s.Signature == "" || s.Signature == MaybeInline && m.signature == nil {
		return unverified()
	}
	at := s.URL
	if s.Signature != Inline && s.Signature != MaybeInline {
		at = s.Signature
		sig, err := c.readSignature(ctx, at)
		if err != nil {
			return nil, "", fmt.Errorf("%s: %v", s.URL, err) // without its cause: the file itself is there
		}
		m.signed = data
		if m.signature, err = parseSignature(sig); err != nil {
			return nil, "", fmt.Errorf("%s: %w", at, err)
		}
	}
	able, err := c.able(ctx, m.signature, *s.Trust, s.URL)
	if err != nil {
		return nil, "", err
	}
	if !able {
		return unverified()
	}
	set, err := c.keys(ctx, *s.Trust)
	if err != nil {
		return nil, "", err
	}
	if signer, err = m.signature.check(set, bytes.NewReader(m.signed)); err != nil {
		return nil, "", fmt.Errorf("%s: %w", at, err)
	}
	return m.text, signer, nil
}
