package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/pack"
	"imagebuilder/builtins/problems"
)

// Effects that bring files from elsewhere: by URL, from this machine, from key servers; and
// the directory in which users keep downloads.

// Listed asks for the digest of a file, by its URL, in a checksum file. A plan takes it to be
// there and shows where it is.
func Listed(sums fetch.Checksums, url string) Question[fetch.Listed] {
	return Question[fetch.Listed]{
		What:   "checksum",
		Find:   func(ctx context.Context, b *Builder) (fetch.Listed, error) { return b.Fetch.Listed(ctx, sums, url) },
		Assume: func(*Planner) (fetch.Listed, bool) { return fetch.Listed{}, true },
		Shown:  func(l fetch.Listed) []string { return []string{cmp.Or(l.SHA256, l.SHA512, "none")} },
	}
}

// Download makes the file of a request, whose digest may have come from a checksum file.
func Download(s *Step, r fetch.Request, sums *fetch.Checksums) Product {
	name := URLName(r.URL)
	return Product{
		Files: []*File{{Name: name, SHA256: r.SHA256}},
		Wish:  &fetch.Wish{Request: r, Checksums: sums},
		Do: func(ctx context.Context, b *Builder) ([]*File, error) {
			start := time.Now()
			file, err := b.obtain(ctx, r)
			if err != nil {
				return nil, err
			}
			b.Log.Info("step", "step", s.Label, "at", s.At, "what", r.URL, "took", time.Since(start))
			return []*File{file}, nil
		},
	}
}

// Ahead begins downloads that are going to be asked for, side by side. It makes nothing itself.
func Ahead(wishes []fetch.Wish) Product {
	return Product{
		Unshown: true,
		Do: func(ctx context.Context, b *Builder) ([]*File, error) {
			b.ahead = append(b.ahead, b.prefetch(ctx, wishes))
			return nil, nil
		},
	}
}

// URLName is the last element of a URL's path.
func URLName(url string) string {
	url, _, _ = strings.Cut(url, "?")
	return path.Base(url)
}

// prefetch begins downloads that are going to be obtained. stop ends them.
func (b *Builder) prefetch(ctx context.Context, wishes []fetch.Wish) (stop func()) {
	if b.Sources != nil { // they may be there already
		return func() {}
	}
	return b.Fetch.Prefetch(ctx, wishes)
}

// obtain returns the file of a request from the directory of downloads, or downloads it.
func (b *Builder) obtain(ctx context.Context, r fetch.Request) (*File, error) {
	name := URLName(r.URL)
	file, err := b.Sources.find(ctx, b.Fetch, r, name)
	if err != nil {
		return nil, err
	}
	if file == nil {
		f, err := b.Fetch.Fetch(ctx, r)
		if err != nil {
			return nil, err
		}
		file = fileOf(f, name)
		if err := b.Sources.add(ctx, file, r.URL); err != nil {
			return nil, err
		}
	}
	b.read(r.URL, file)
	return file, nil
}

// Local makes a file of the host one that effects can use, if it is what a request asks for
// of its content. brought is the package that brings it, "" if none is known. A plan looks no
// further than whether it is there.
func Local(s *Step, path, brought string, r fetch.Request) Product {
	s.Needs = append(s.Needs, Need{Name: path, Package: brought, At: s.At})
	name := filepath.Base(path)
	return Product{
		Files:   []*File{{Name: name, local: path}},
		Unshown: true,
		Do: func(ctx context.Context, b *Builder) ([]*File, error) {
			f, err := b.local(ctx, r, path)
			if err != nil {
				return nil, fmt.Errorf("cannot use %s: %w", path, err)
			}
			file := fileOf(f, name)
			b.read(name, file)
			return []*File{file}, nil
		},
	}
}

// fileOf is a fetched file under a name.
func fileOf(f fetch.Fetched, name string) *File {
	return &File{Name: name, path: f.Path, note: f.Note, Size: f.Size, SHA256: f.SHA256, SignedBy: f.SignedBy}
}

const keyringName = "keyring.gpg"

// Keyring makes a file with OpenPGP keys.
func Keyring(keys []string, keyserver string, armor bool) Product {
	return Product{
		Files:   []*File{{Name: keyringName}},
		Unshown: true,
		Do: func(ctx context.Context, b *Builder) ([]*File, error) {
			ring, err := b.Fetch.Keyring(ctx, keys, keyserver)
			if err == nil && armor {
				ring, err = fetch.Armor(ring)
			}
			if err != nil {
				return nil, err
			}
			file, err := b.keep(ctx, keyringName, ring)
			return []*File{file}, err
		},
	}
}

// keep puts bytes into the store as a file.
func (b *Builder) keep(ctx context.Context, name string, data []byte) (*File, error) {
	st := layer.Origin{
		Name:   strings.TrimSuffix(name, path.Ext(name)),
		Inputs: []layer.Input{{Name: "sha256", Value: digest.Sum(data).String()}},
		Intact: stillDescribed,
	}
	return b.keepMade(ctx, name, st, func() ([]byte, error) { return data, nil })
}

// keepMade is keep for bytes that are made only where the store has none.
func (b *Builder) keepMade(ctx context.Context, name string, st layer.Origin, data func() ([]byte, error)) (*File, error) {
	e, _, err := b.Store.Get(ctx, layer.Base{}, st, func(dir string) error {
		data, err := data()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
		return describe(dir, name)
	})
	if err != nil {
		return nil, err
	}
	return described(e.Data())
}

// Sources is a directory of downloads that users see, beside the store that they do not:
// a file that is there is taken, others are put there. A hidden file beside each says
// which URL it is of; one that has none was put there by somebody, and is taken.
type Sources struct {
	Dir  string
	Keep bool // else Close removes what was taken from there or put there

	used []string
}

// find returns the file of a request if it is there.
func (s *Sources) find(ctx context.Context, c *fetch.Client, r fetch.Request, name string) (*File, error) {
	if s == nil {
		return nil, nil
	}
	if url, err := os.ReadFile(filepath.Join(s.Dir, noteName(name))); err == nil && string(url) != r.URL {
		return nil, nil
	}
	path := filepath.Join(s.Dir, name)
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	f, err := c.Verify(ctx, r, path)
	var wrong fetch.WrongError
	if errors.As(err, &wrong) {
		return nil, nil // what comes from the server may be right
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", name, err)
	}
	s.use(name)
	return fileOf(f, name), nil
}

func (s *Sources) use(name string) { s.used = append(s.used, name, noteName(name)) }

func noteName(name string) string { return "." + name + ".url" }

// add copies a download there. At no time is a file there beside the wrong URL.
func (s *Sources) add(ctx context.Context, f *File, url string) error {
	if s == nil {
		return nil
	}
	err := os.MkdirAll(s.Dir, 0o755)
	if err == nil {
		err = s.replace(f.Name, url)
	}
	if err == nil {
		err = pack.Publish(ctx, s.Dir, []pack.Result{{Path: f.path, Name: f.Name, Size: f.Size, SHA256: f.SHA256}})
	}
	if err != nil {
		return fmt.Errorf("cannot keep a download: %w", err)
	}
	s.use(f.Name)
	return nil
}

// replace takes away what has the name of a download, and notes its URL.
func (s *Sources) replace(name, url string) error {
	dir, err := dirfd.Open(s.Dir, dirfd.Refuse)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.RemoveAll(name); err != nil {
		return err
	}
	return dir.Replace(noteName(name), 0o644, dirfd.Bytes([]byte(url)))
}

// Close removes what the run has used there unless it is to be kept, and the directory
// if nothing else is in it.
func (s *Sources) Close() error {
	if s == nil || s.Keep {
		return nil
	}
	var errs []error
	for _, name := range s.used {
		if err := os.Remove(filepath.Join(s.Dir, name)); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	os.Remove(s.Dir) // fails if it is of use to others
	return problems.Join(errs...)
}
