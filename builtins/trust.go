package builtins

import (
	"fmt"
	"strings"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/fetch"
)

// What downloads are verified by, as values of recipes: the keys of a source, and its checksum
// files. They ask nothing of anybody until something is downloaded.

// A trust is what the files of one source are verified by. Its attributes are verifies, True
// if there are keys that count, and skips, True if nothing is verified.
type trust struct{ fetch.Trust }

var _ starlark.HasAttrs = (*trust)(nil)

func (t *trust) String() string       { return "<trust " + strings.Join(t.Names(), " ") + ">" }
func (t *trust) Type() string         { return "trust" }
func (t *trust) Freeze()              {}
func (t *trust) Truth() starlark.Bool { return true }

func (t *trust) Hash() (uint32, error) { return starlark.String(t.String()).Hash() }

func (t *trust) Attr(name string) (starlark.Value, error) {
	switch name {
	case "skips":
		return starlark.Bool(t.Skip), nil
	case "verifies":
		return starlark.Bool(t.Verifies()), nil
	}
	return nil, nil
}

func (t *trust) AttrNames() []string { return []string{"skips", "verifies"} }

// trust(url, keys=[], keyserver="", skip_verification=False, signed=True) returns what the
// files of a source are verified by, for download and checksums. url is where the source is.
//
// keys are armored OpenPGP public keys, full fingerprints of 40 or 64 hex digits, which are
// looked up at keyserver (see keyring), or public keys of signify or minisign. If there are
// any, what is signed must be signed by one of them, whatever the URL. Without keys a URL
// with https, or of a file, is trusted, with a notice, and another one is an error.
//
// With skip_verification nothing is verified, whatever else is given, with a notice.
// signed=False is for sources that publish no signatures: any URL is taken, with a notice, and
// keys are said to be of no use.
//
// Example:
//
//	url = "https://example.org/images"
//	t = trust(url, keys = ["F6ECB3762474EDA9D21B7022871920D1991BC93C"])
//	file = download(url + "/base.tar.xz", signature = url + "/base.tar.xz.asc", trust = t)
func (b *Words) makeTrust(_ *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var url string
	var keys stringList
	t := new(trust)
	signed := true
	if err := unpackArgs(fn, args, kwargs, "url", &url, "keys?", &keys, "keyserver?", &t.Keyserver,
		"skip_verification?", &t.Skip, "signed?", &signed); err != nil {
		return nil, err
	}
	t.Keys, t.Unsigned = keys, !signed
	if err := t.Check(url); err != nil {
		return nil, Misuse{fmt.Errorf("trust: %w", err)}
	}
	if notice := t.Notice(url); notice != "" {
		b.say("%s", notice)
	}
	return t, nil
}

// A checksums is a checksum file, which is read once a file is verified by it. Its attribute
// is url.
type checksums struct{ fetch.Checksums }

var _ starlark.HasAttrs = (*checksums)(nil)

func (c *checksums) String() string       { return "<checksums " + c.URL + ">" }
func (c *checksums) Type() string         { return "checksums" }
func (c *checksums) Freeze()              {}
func (c *checksums) Truth() starlark.Bool { return true }

func (c *checksums) Hash() (uint32, error) { return starlark.String(c.String()).Hash() }

func (c *checksums) Attr(name string) (starlark.Value, error) {
	if name == "url" {
		return starlark.String(c.URL), nil
	}
	return nil, nil
}

func (c *checksums) AttrNames() []string { return []string{"url"} }

// checksums(url, trust=None, signature=None, algorithm="sha256", optional=False) returns the
// checksum file of a URL, for download, or None if trust skips all verification.
//
// signature says where its signature is: the URL of a detached one; "inline" if the file must
// be a signed message; "inline?" if it may be one, in which case that must be right, while a
// plain file counts as one that has no signature: that is an error over http if trust has
// keys, otherwise there is a notice. Of a signed message only what is signed is read.
//
// algorithm is that of the digests that count, "sha256" or "sha512". The file may have the
// form of sha256sum, of BSD's tools, or of Gentoo's DIGESTS; one that is named after a single
// file, such as x.tar.xz.sha256, may hold nothing but the digest. With optional it need not be
// there.
//
// Example:
//
//	url = "https://cloud.example.org/images"
//	t = trust(url, keys = ["2E1B81D2C2BE5C7F0B9C5B6A0F3C1A7D4E8F9012"])
//	sums = checksums(url + "/SHA256SUMS", t, signature = url + "/SHA256SUMS.gpg")
//	unpack(root, download(url + "/base.tar.xz", checksums = sums, trust = t))
func (b *Words) makeChecksums(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	c := &checksums{fetch.Checksums{Algorithm: "sha256"}}
	var policy *trust
	if err := unpackArgs(fn, args, kwargs, "url", &c.URL, "trust??", &policy, "signature??", &c.Signature,
		"algorithm?", &c.Algorithm, "optional?", &c.Optional); err != nil {
		return nil, err
	}
	if policy != nil {
		c.Trust = &policy.Trust
	}
	if err := c.Check(); err != nil {
		return nil, Misuse{fmt.Errorf("checksums: %w", err)}
	}
	if err := b.checkURLs(thread, c.URL, c.Signature); err != nil {
		return nil, fmt.Errorf("checksums: %w", err)
	}
	if policy != nil && policy.Skip {
		return starlark.None, nil
	}
	if policy != nil && policy.Verifies() && c.Signature == "" {
		b.say("%s is not signed, so that the keys are not used", c.URL)
	}
	return c, nil
}

// wanted returns the arguments of a download's step, having asked a checksum file, if there
// is one, for the digest, and by which key that is signed.
func (b *Words) wanted(thread *starlark.Thread, fn *starlark.Builtin, r *fetch.Request, sums *checksums) (args []build.Arg, signer string, err error) {
	args = []build.Arg{arg("url", r.URL)}
	var more []build.Arg
	if sums != nil {
		more = append(more, arg("checksums", sums.URL))
		if sums.Signature != "" && sums.Trust != nil && sums.Trust.Verifies() {
			more = append(more, arg("checksums signed", sums.Signature), arg("checksums keys", sums.Trust.Names()))
		}
	}
	if r.Signature != "" && r.Trust.Verifies() {
		more = append(more, arg("signature", r.Signature), arg("keys", r.Trust.Names()))
	}
	if sums != nil {
		s := b.newStep(thread, fn, nil, append(args[:1:1], more...)...)
		listed, err := build.Ask(Context(thread), b.Worker, s, build.Listed(sums.Checksums, r.URL))
		if err != nil {
			return nil, "", err
		}
		if err := r.Narrow(listed); err != nil {
			return nil, "", fmt.Errorf("%s: %w", sums.URL, err)
		}
		signer = listed.SignedBy
	}
	if r.SHA256 != "" {
		args = append(args, arg("sha256", r.SHA256))
	}
	if r.SHA512 != "" {
		args = append(args, arg("sha512", r.SHA512))
	}
	return append(args, more...), signer, nil
}
