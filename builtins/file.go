package builtins

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/fetch"
)

// Files of anywhere, as values of recipes: the value itself, and the words that make one of
// a URL or of a path of this machine.

// A file is an immutable file that is known by its digest. Its attributes are name,
// size and sha256; where it lies on the host is nobody's business.
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
	case "size":
		return starlark.MakeInt64(f.Size), nil
	}
	return nil, nil
}

func (f *file) AttrNames() []string { return []string{"name", "sha256", "size"} }

// make asks for a product of one file.
func (b *Words) make(thread *starlark.Thread, s *build.Step, p build.Product) (*build.File, error) {
	files, err := b.Worker.Make(Context(thread), s, p)
	if err != nil {
		return nil, err
	}
	return files[0], nil
}

// download(url, sha256="", name="") returns the file that an http or https URL serves, or
// the file of this machine that a file URL names (see local).
// With sha256, 64 hex digits, the file must have that digest and is downloaded once
// for good; without, every run asks whether it has changed. name is what the file is
// called, else the last element of the URL.
func (b *Words) download(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var r fetch.Request
	var name string
	if err := unpackArgs(fn, args, kwargs, "url", &r.URL, "sha256?", &r.SHA256, "name?", &name); err != nil {
		return nil, err
	}
	here := fetch.IsFile(r.URL)
	err := fetch.CheckDigest(r.SHA256)
	if !here {
		err = r.Check()
		name = cmp.Or(name, build.URLName(r.URL))
	}
	if name != "" {
		err = errors.Join(err, build.CheckFileName(name))
	}
	if err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	s := b.newStep(thread, fn, nil, arg("url", r.URL))
	var f *build.File
	if here {
		f, err = b.localFile(thread, s, r.URL, r.SHA256)
	} else {
		if r.SHA256 != "" {
			s.Args = append(s.Args, arg("sha256", r.SHA256))
		}
		f, err = b.make(thread, s, build.Download(s, r))
	}
	if err != nil {
		return nil, err
	}
	if name != "" {
		f = f.Renamed(name)
	}
	return &file{f}, nil
}

// local(path, sha256="") returns a file of this machine, by its path or its URL, such as
// file:///srv/a%20name. A relative path, also one behind "file:", is relative to the recipe
// file that says it. With sha256, 64 hex digits, the file must have that digest.
func (b *Words) local(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name, digest string
	if err := unpackArgs(fn, args, kwargs, "path", &name, "sha256?", &digest); err != nil {
		return nil, err
	}
	if err := fetch.CheckDigest(digest); err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	f, err := b.localFile(thread, b.newStep(thread, fn, nil, arg("path", name)), name, digest)
	if err != nil {
		return nil, err
	}
	return &file{f}, nil
}

// localFile returns the file of the host that a path or URL names which a recipe says. It
// must have the digest if one is given.
func (b *Words) localFile(thread *starlark.Thread, s *build.Step, name, digest string) (*build.File, error) {
	if b.Locate == nil {
		return nil, errors.New("internal error: recipes cannot name local files")
	}
	if digest != "" {
		s.Args = append(s.Args, arg("sha256", digest))
	}
	path := name
	if fetch.IsFile(name) {
		var err error
		if path, err = fetch.FilePath(name); err != nil {
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
	f, err := b.make(thread, s, build.Local(s, path))
	if err == nil && digest != "" && f.SHA256 != "" && !strings.EqualFold(digest, f.SHA256) {
		err = fmt.Errorf("%s has the SHA-256 %s, want %s", name, f.SHA256, digest)
	}
	return f, err
}

// callerFile is the recipe file whose paths a builtin was given: that of the first
// caller outside the standard library, which only passes paths on.
func callerFile(thread *starlark.Thread) string {
	for depth := 1; depth < thread.CallStackDepth(); depth++ {
		name := thread.CallFrame(depth).Pos.Filename()
		if !strings.HasPrefix(name, "@stdlib//") {
			return name
		}
	}
	return ""
}
