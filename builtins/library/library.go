// Package library knows the shared libraries of recipes: those that a file imagebuilder.mod
// names, each a folder or an archive that is pinned by its digest. Archives are kept in the
// store, unpacked, or beside the recipe as vendored copies. Whatever a library is taken from,
// it is what was pinned, or an error. What its files mean is no concern of this package.
package library

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/lock"
)

// VendorDir is the directory beside a list that has vendored copies, by their names.
const VendorDir = "vendor"

// Options say where archives are kept. The zero value has no cache: there are only folders and
// vendored copies.
type Options struct {
	Cache   func() (string, error) // directory of the store
	Offline bool                   // nothing is downloaded
	Lock    *lock.Session          // says what the network has, or writes it down; nil: neither
	Log     *slog.Logger           // nil: nothing is said
}

// A Source says what a library is taken from.
type Source string

// The sources, in the order in which they count.
const (
	Folder   Source = "folder"
	Vendored Source = "vendor"
	Cached   Source = "cache"
)

// Vendored tells whether there is a vendored copy.
func (p Pin) Vendored(base string) bool {
	_, err := os.Lstat(p.vendored(base))
	return err == nil
}

// Source is what a library of a list in the directory base is taken from.
func (p Pin) Source(base string) Source {
	if p.Dir != "" {
		return Folder
	}
	if p.Vendored(base) {
		return Vendored
	}
	return Cached
}

func (p Pin) vendored(base string) string { return filepath.Join(base, VendorDir, p.Name) }

// Find returns the directory of a library of the list in the directory base, which it
// downloads if need be. What is in the store may go once nobody holds it: see [Hold].
func Find(ctx context.Context, base string, pin Pin, o Options) (dir string, err error) {
	switch pin.Source(base) {
	case Folder:
		dir, err = pin.folder(base)
	case Vendored:
		dir, err = pin.vendored(base), pin.checkVendored(base)
	default:
		err = o.withStore(func(store *layer.Store) error {
			dir, err = Hold(ctx, store, pin, o)
			return err
		})
	}
	if err != nil {
		return "", fmt.Errorf("cannot use the library @%s: %w", pin.Name, err)
	}
	return dir, nil
}

// folder returns the directory that the list names in place of an archive.
func (p Pin) folder(base string) (string, error) {
	dir := p.Dir
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(base, dir)
	}
	st, err := os.Stat(dir)
	if err != nil {
		return "", fmt.Errorf("its dir=%s is not there: %w", p.Dir, dirfd.Cause(err))
	}
	if !st.IsDir() {
		return "", fmt.Errorf("its dir=%s is not a directory", p.Dir)
	}
	return dir, nil
}

// withStore does something with the store, which it leaves as large as it is: how large it may
// be is for builds to say.
func (o Options) withStore(do func(*layer.Store) error) (err error) {
	if o.Cache == nil {
		return errors.New("there is no cache for its archive here: 'imagebuilder mod vendor' puts it beside the recipe")
	}
	dir, err := o.Cache()
	if err != nil {
		return err
	}
	store, err := layer.Open(dir, layer.Options{MaxSize: math.MaxInt64, Log: o.Log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return do(store)
}

// Parts of an entry of the store.
const (
	treeDir = "tree"
	sumFile = "files.sha256" // the digest of what is in the tree
)

// Hold returns the directory of a pinned archive in a store, which keeps it until it is closed.
func Hold(ctx context.Context, store *layer.Store, pin Pin, o Options) (dir string, err error) {
	archive := func() (string, error) {
		f, err := o.client(store).Fetch(ctx, fetch.Request{URL: pin.URL, SHA256: pin.SHA256, MaxSize: maxArchive})
		return f.Path, err
	}
	if o.Lock != nil && o.Lock.Record { // which is to have it, though it be unpacked already
		if _, err := archive(); err != nil {
			return "", err
		}
	}
	return o.keep(ctx, store, pin, archive)
}

func (o Options) client(store *layer.Store) *fetch.Client {
	if o.Lock != nil {
		o.Lock.Bodies = lock.Bodies{Dir: store.Bodies()}
	}
	return &fetch.Client{Store: store, Log: o.log(), Offline: o.Offline, Lock: o.Lock}
}

func (o Options) log() *slog.Logger {
	if o.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return o.Log
}

// keep is Hold with a way to get the archive if it has to be unpacked.
func (o Options) keep(ctx context.Context, store *layer.Store, pin Pin, archive func() (string, error)) (string, error) {
	step := layer.Origin{
		Name:    "library",
		Summary: pin.Name + " " + pin.URL,
		Inputs:  []layer.Input{{Name: "sha256", Value: strings.ToLower(pin.SHA256)}, {Name: "prefix", Value: pin.Prefix}},
		Intact:  Verify,
	}
	entry, _, err := store.Get(ctx, layer.Base{}, step, func(dir string) error {
		file, err := archive()
		if err != nil {
			return err
		}
		return o.unpack(ctx, pin, file, dir)
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(entry.Data(), treeDir), nil
}

// unpack makes the content of an entry.
func (o Options) unpack(ctx context.Context, pin Pin, archive, dir string) error {
	tree := filepath.Join(dir, treeDir)
	if err := os.Mkdir(tree, 0o755); err != nil {
		return err
	}
	left, err := usual.unpackTo(ctx, archive, pin.Prefix, tree)
	if err != nil {
		return fmt.Errorf("cannot unpack %s: %w", pin.URL, err)
	}
	if len(left) > 0 {
		o.log().Warn("links and devices of the library are left out", "library", "@"+pin.Name, "files", strings.Join(left, ", "))
	}
	sum, err := Sum(os.DirFS(tree))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, sumFile), []byte(sum), 0o600)
}

// Verify finds out whether what is in a directory of the store still is what was unpacked there.
func Verify(dir string) error {
	want, err := os.ReadFile(filepath.Join(dir, sumFile))
	if err != nil {
		return err
	}
	got, err := Sum(os.DirFS(filepath.Join(dir, treeDir)))
	if err == nil && got != string(want) {
		err = fmt.Errorf("the library was changed after it was stored: its files have the digest %s, not %s", got, want)
	}
	return err
}

// IsEntry tells whether a directory of the store has a library.
func IsEntry(dir string) bool {
	_, err := os.Lstat(filepath.Join(dir, sumFile))
	return !errors.Is(err, fs.ErrNotExist)
}
