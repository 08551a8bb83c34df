package builtins

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"strings"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/fetch"
)

// Files of anywhere, as values of recipes: the value itself, and the words that make one of
// a URL or of a path of this machine.

// A file is an immutable file that is known by its digest. Its attributes are name,
// size, sha256, and signed_by, the fingerprint or id of the key by which a download was
// verified, "" if by none; where it lies on the host is nobody's business.
type file struct{ *build.File }

var _ starlark.HasAttrs = (*file)(nil)

func (f *file) String() string       { return "<file " + f.Name + ">" }
func (f *file) Type() string         { return "file" }
func (f *file) Freeze()              {}
func (f *file) Truth() starlark.Bool { return true }

func (f *file) Hash() (uint32, error) { return starlark.String(f.Name + f.SHA256).Hash() }

func (f *file) Attr(name string) (starlark.Value, error) {
	switch name {
	case "name":
		return starlark.String(f.Name), nil
	case "sha256":
		return starlark.String(f.SHA256), nil
	case "signed_by":
		return starlark.String(f.SignedBy), nil
	case "size":
		return starlark.MakeInt64(f.Size), nil
	}
	return nil, nil
}

func (f *file) AttrNames() []string { return []string{"name", "sha256", "signed_by", "size"} }

// make asks for a product of one file.
func (b *Words) make(thread *starlark.Thread, s *build.Step, p build.Product) (*build.File, error) {
	files, err := b.Worker.Make(Context(thread), s, p)
	if err != nil {
		return nil, err
	}
	return files[0], nil
}

// download(url, sha256="", name="", sha512="", checksums=None, signature=None, trust=None,
// max_size=0) returns the file that an http or https URL serves, or the file of this machine
// that a file URL names (see local). name is what the file is called, else the last
// element of the URL. max_size, in bytes, bounds it; 0 is 64 GiB.
//
// What is given must be right of exactly the bytes that are used: sha256, 64 hex digits;
// sha512, 128; checksums, a checksum file that must name the file (see checksums); and
// signature, the URL of a detached signature, of OpenPGP, signify or minisign, by one of the
// keys of trust. Without keys the signature is not asked for; one of a kind for which there
// is no key is not verified over https, with a notice, and an error over http. With neither
// digest nor signature trust must allow the URL; so it must where a checksum file is itself
// trusted by nothing, which says no more than whether the file is whole.
//
// A file whose digest is known is downloaded once for good; of any other every run asks
// whether it has changed. Several downloads of a recipe happen side by side where a plan knows
// that they will: that of the first does not wait for the call of the second. An HTML page where something else is asked for is an error. The
// attribute signed_by says which key has signed the file, or its checksum file.
//
// Example:
//
//	file = download("https://example.org/tool-1.2.tar.gz", sha256 = "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9")
//	unpack(root, file, into = "/opt/tool", strip = 1)
func (b *Words) download(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	r := fetch.Request{NoPage: true}
	var name, signature string
	var sums *checksums
	var policy *trust
	if err := unpackArgs(fn, args, kwargs, "url", &r.URL, "sha256?", &r.SHA256, "name?", &name, "sha512?", &r.SHA512,
		"checksums??", &sums, "signature??", &signature, "trust??", &policy, "max_size?", &r.MaxSize); err != nil {
		return nil, err
	}
	here := fetch.IsFile(r.URL)
	var err error
	if !here {
		err = fetch.CheckURL(r.URL)
		name = cmp.Or(name, build.URLName(r.URL))
	}
	if name != "" {
		err = errors.Join(err, build.CheckFileName(name))
	}
	if r.MaxSize < 0 {
		err = errors.Join(err, errors.New("max_size is negative"))
	}
	if signature != "" && policy == nil {
		err = errors.Join(err, errors.New("signature means nothing without trust, which has the keys"))
	}
	if policy != nil {
		r.Trust, r.Signature = &policy.Trust, signature
	}
	r.Unvouched = !r.Pinned() && sums != nil && sums.Trust == nil
	if err = errors.Join(err, r.CheckContent(sums != nil && sums.Trust != nil)); err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	if err := b.checkURLs(thread, signature); err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	given, signer, err := b.wanted(thread, fn, &r, sums)
	if err != nil {
		return nil, err
	}
	s := b.newStep(thread, fn, nil, given...)
	var f *build.File
	if here {
		f, err = b.localFile(thread, s, r, "")
	} else {
		var list *fetch.Checksums
		if sums != nil {
			list = &sums.Checksums
		}
		f, err = b.make(thread, s, build.Download(s, r, list))
	}
	if err != nil {
		return nil, err
	}
	if name != "" {
		f = f.Renamed(name)
	}
	if f.SignedBy == "" && signer != "" {
		f = f.Signed(signer)
	}
	return &file{f}, nil
}

// download_ahead(urls, signature="", trust=None) begins to download files that a recipe is going
// to ask for by download, side by side, and returns nothing. signature is what the URLs of
// signatures have behind those of the files, such as ".asc"; trust is that of download, and
// the calls have to agree. What goes wrong with a file, its download says. Recipes need it
// where only answers of the network tell which files there are: others a run begins by itself.
//
// Example:
//
//	t = trust("https://example.org/packages")
//	pages = links("https://example.org/packages/", ".*[.]txz")
//	download_ahead([page.url for page in pages], trust = t)
//	files = [download(page.url, trust = t) for page in pages]
func (b *Words) downloadAhead(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var urls stringList
	var signature string
	var policy *trust
	if err := unpackArgs(fn, args, kwargs, "urls", &urls, "signature?", &signature, "trust??", &policy); err != nil {
		return nil, err
	}
	if err := b.checkURLs(thread, urls...); err != nil {
		return nil, fmt.Errorf("download_ahead: %w", err)
	}
	wishes := make([]fetch.Wish, len(urls))
	for i, url := range urls {
		wishes[i].Request = fetch.Request{URL: url, NoPage: true}
		if policy != nil {
			wishes[i].Trust = &policy.Trust
		}
		if signature != "" {
			wishes[i].Signature = url + signature
		}
	}
	_, err := b.Worker.Make(Context(thread), b.newStep(thread, fn, nil), build.Ahead(wishes))
	return starlark.None, err
}

// local(path, sha256="", package="") returns a file of this machine, by its path or its URL,
// such as file:///srv/a%20name. A relative path, also one behind "file:", is relative to the
// recipe file that says it; see recipe_file for others. With sha256, 64 hex digits, the file must have that digest.
// package is the Debian package that brings the file, for those who miss it. In a library of
// others (see imagebuilder mod) "//x" is its own file x, and other paths than those of its own
// files must be values of options that the user gives.
//
// Example:
//
//	unpack(root, local("base.tar.xz"))
//	root.copy(local("motd"), "/etc/motd")
func (b *Words) local(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var r fetch.Request
	var brought string
	if err := unpackArgs(fn, args, kwargs, "path", &r.URL, "sha256?", &r.SHA256, "package?", &brought); err != nil {
		return nil, err
	}
	if err := fetch.CheckDigest(r.SHA256); err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	s := b.newStep(thread, fn, nil, arg("path", r.URL))
	if r.SHA256 != "" {
		s.Args = append(s.Args, arg("sha256", r.SHA256))
	}
	var f *build.File
	var err error
	if brought != "" && inStdlib(callingFile(thread)) { // which says so of no path that it was given
		f, err = b.make(thread, s, build.Local(s, r.URL, brought, r))
	} else {
		f, err = b.localFile(thread, s, r, brought)
	}
	if err != nil {
		return nil, err
	}
	return &file{f}, nil
}

// OfRecipe begins paths that are relative to the recipe which is run, whatever file says them.
const OfRecipe = "recipe:"

// recipe_file(path) returns what means a file beside the recipe that is run, wherever a path of
// this machine can stand, such as local(recipe_file("files/motd")) or root.copy(recipe_file("files/*"),
// "/etc"): a function of a library finds by it what belongs to the recipe that calls it, where a
// plain path is relative to the file that says it. An absolute path stays as it is. In a library of
// others (see imagebuilder mod) it is an error; such a library can be given what it returns.
//
// Example:
//
//	root.copy(recipe_file("motd"), "/etc/motd")
//	unpack(root, local(recipe_file("base.tar.xz")))
func (b *Words) recipeFile(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name anyPath
	if err := unpackArgs(fn, args, kwargs, "path", &name); err != nil {
		return nil, err
	}
	if path.IsAbs(string(name)) {
		return starlark.String(name), nil
	}
	if file := callerFile(thread); b.foreign(file) {
		return nil, Misuse{fmt.Errorf("%s is of a library, which cannot name files of the recipe: take the path as an argument", file)}
	}
	of := OfRecipe + path.Clean(strings.TrimPrefix(string(name), OfRecipe))
	if b.Say != nil {
		b.Say(of)
	}
	return starlark.String(of), nil
}

// localFile returns the file of the host that a path or URL names which a recipe says, if
// its content is what is asked for.
func (b *Words) localFile(thread *starlark.Thread, s *build.Step, r fetch.Request, brought string) (*build.File, error) {
	if b.Locate == nil {
		return nil, errors.New("internal error: recipes cannot name local files")
	}
	path := r.URL
	if fetch.IsFile(path) {
		var err error
		if path, err = fetch.FilePath(path); err != nil {
			return nil, Misuse{fmt.Errorf("%s: %w", s.Builtin, err)}
		}
	}
	path, err := b.Locate(callerFile(thread), path)
	if err == nil {
		path, err = build.HostPath(path)
	}
	if err != nil {
		return nil, err
	}
	return b.make(thread, s, build.Local(s, path, brought, r))
}
