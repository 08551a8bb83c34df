package builtins

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/fetch"
)

// A File is an immutable file that is known by its digest. Its attributes are name,
// size and sha256; where it lies on the host is nobody's business.
type File struct {
	name   string
	path   string // empty in a plan
	size   int64
	sha256 string // empty in a plan, where it is not known
}

var _ starlark.HasAttrs = (*File)(nil)

func (f *File) String() string       { return "<file " + f.name + ">" }
func (f *File) Type() string         { return "file" }
func (f *File) Freeze()              {}
func (f *File) Truth() starlark.Bool { return true }

func (f *File) Hash() (uint32, error) { return starlark.String(f.name + f.sha256).Hash() }

func (f *File) Attr(name string) (starlark.Value, error) {
	switch name {
	case "name":
		return starlark.String(f.name), nil
	case "sha256":
		return starlark.String(f.sha256), nil
	case "size":
		return starlark.MakeInt64(f.size), nil
	}
	return nil, nil
}

func (f *File) AttrNames() []string { return []string{"name", "sha256", "size"} }

// MarshalJSON shows a file in plans and keys by what is the same everywhere.
func (f *File) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		File   string `json:"file"`
		SHA256 string `json:"sha256,omitempty"`
	}{f.name, f.sha256})
}

// download(url, sha256="", name="") returns the file that an http or https URL serves, or
// the file of this machine that file:///PATH is.
// With sha256, 64 hex digits, the file must have that digest and is downloaded once
// for good; without, every run asks whether it has changed. name is what the file is
// called, else the last element of the URL.
func (b *Build) download(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var r fetch.Request
	var name string
	if err := unpackArgs(fn, args, kwargs, "url", &r.URL, "sha256?", &r.SHA256, "name?", &name); err != nil {
		return nil, err
	}
	path, here := strings.CutPrefix(r.URL, "file://")
	here = here && strings.HasPrefix(path, "/")
	err := fetch.CheckDigest(r.SHA256)
	if !here {
		err = r.Check()
	}
	if name == "" {
		name = fileName(r.URL)
	}
	if err = errors.Join(err, checkName(name)); err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	s := b.newStep(thread, fn, nil, Arg{"url", r.URL})
	var file *File
	if here {
		file, err = b.localFile(thread, s, path, path, r.SHA256)
	} else {
		if r.SHA256 != "" {
			s.Args = append(s.Args, Arg{"sha256", r.SHA256})
		}
		file, err = b.Worker.Download(Context(thread), s, r)
	}
	if err != nil {
		return nil, err
	}
	file.name = name
	return file, nil
}

// fileName is the last element of a URL's path.
func fileName(url string) string {
	url, _, _ = strings.Cut(url, "?")
	return path.Base(url)
}

func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("not a file name: %q", name)
	}
	if len(name) > 240 { // of 255, as a suffix may come, or a temporary name
		return fmt.Errorf("too long for a file name: %.40s… (%d bytes)", name, len(name))
	}
	return nil
}

// local(path, sha256="") returns a file of this machine. A relative path is relative to
// the recipe file that says it. With sha256, 64 hex digits, the file must have that digest.
func (b *Build) local(thread *starlark.Thread, fn *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
	var name, digest string
	if err := unpackArgs(fn, args, kwargs, "path", &name, "sha256?", &digest); err != nil {
		return nil, err
	}
	if err := fetch.CheckDigest(digest); err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	if b.Locate == nil {
		return nil, errors.New("internal error: recipes cannot name local files")
	}
	host, err := b.Locate(callerFile(thread), name)
	if err != nil {
		return nil, err
	}
	return b.localFile(thread, b.newStep(thread, fn, nil, Arg{"path", name}), name, host, digest)
}

// localFile returns a file of the host, called name, that has the digest if one is given.
func (b *Build) localFile(thread *starlark.Thread, s *Step, name, host, digest string) (*File, error) {
	if digest != "" {
		s.Args = append(s.Args, Arg{"sha256", digest})
	}
	file, err := b.Worker.Local(Context(thread), s, host)
	if err == nil && digest != "" && file.sha256 != "" && !strings.EqualFold(digest, file.sha256) {
		err = fmt.Errorf("%s has the SHA-256 %s, want %s", name, file.sha256, digest)
	}
	return file, err
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
