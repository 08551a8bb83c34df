package library

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/problems"
)

// Vendored copies: the files of a library beside the recipe, for whoever wants to have them
// under version control. Git keeps neither owners nor times nor empty directories, which is why
// a copy is known by its files alone.

// checkVendored finds out whether a vendored copy is what the list pins.
func (p Pin) checkVendored(base string) error {
	copy := filepath.Join(base, VendorDir, p.Name)
	if p.Files == "" {
		return fmt.Errorf("nothing pins the copy %s: its line in %s has no files=; 'imagebuilder mod vendor --force %s' makes the copy anew", copy, FileName, p.Name)
	}
	got, err := p.sumVendored(base)
	if err != nil {
		return err
	}
	if got != strings.ToLower(p.Files) {
		return fmt.Errorf("the copy %s is not what %s pins: its files have the digest %s, not %s; 'imagebuilder mod verify' tells which, "+
			"'imagebuilder mod vendor --force %s' makes the copy anew", copy, FileName, got, p.Files, p.Name)
	}
	return nil
}

func (p Pin) sumVendored(base string) (string, error) {
	got, err := Sum(os.DirFS(p.vendored(base)))
	if err != nil {
		return "", fmt.Errorf("cannot use the copy %s: %w", filepath.Join(base, VendorDir, p.Name), dirfd.Cause(err))
	}
	return got, nil
}

// Untouched finds out whether a vendored copy, if there is one, may be replaced: nobody has
// changed it.
func (p Pin) Untouched(base string) error {
	if _, err := os.Lstat(p.vendored(base)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	got, err := p.sumVendored(base)
	if err == nil && p.Files != "" && got == strings.ToLower(p.Files) {
		return nil
	}
	return fmt.Errorf("somebody has changed the copy %s: move it away and name it by dir=, or replace it by --force", filepath.Join(base, VendorDir, p.Name))
}

// Vendor copies a pinned archive beside the list in the directory base, in place of the copy
// that is there, and returns the pin with the digest of the files.
func Vendor(ctx context.Context, base string, pin Pin, o Options) (Pin, error) {
	err := o.withStore(func(store *layer.Store) error {
		from, err := Hold(ctx, store, pin, o)
		if err != nil {
			return err
		}
		if pin.Files, err = Sum(os.DirFS(from)); err != nil {
			return err
		}
		return replaceCopy(filepath.Join(base, VendorDir), pin.Name, from)
	})
	if err != nil {
		return pin, fmt.Errorf("cannot vendor the library @%s: %w", pin.Name, err)
	}
	return pin, nil
}

// replaceCopy makes a directory below dir a copy of another one. It is there as a whole, old or
// new, at any time.
func replaceCopy(dir, name, from string) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := dirfd.Open(dir, dirfd.Refuse)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	temp := dirfd.TempName(name)
	if err := root.RemoveAll(temp); err != nil { // of a run that was killed
		return err
	}
	defer func() { err = errors.Join(err, root.RemoveAll(temp)) }()
	if err := os.CopyFS(filepath.Join(dir, temp), os.DirFS(from)); err != nil {
		return err
	}
	if err := syncFS(dir); err != nil {
		return fmt.Errorf("cannot sync the copy: %w", err)
	}
	if _, err := root.Supplant(temp, name); err != nil { // what was there goes by the other name
		return err
	}
	return root.Sync(".")
}

func syncFS(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// Check finds out whether a library is what its pin says: the archive, and the vendored copy if
// there is one, file by file. Where nothing can be downloaded, the copy is enough.
func Check(ctx context.Context, base string, pin Pin, o Options) error {
	if pin.Source(base) == Folder { // what is in it is nobody's business but the user's
		_, err := pin.folder(base)
		return err
	}
	vendored := pin.Source(base) == Vendored
	err := o.withStore(func(store *layer.Store) error {
		dir, err := Hold(ctx, store, pin, o)
		if err != nil {
			return err
		}
		want, err := usual.sumsOf(os.DirFS(dir))
		if err != nil {
			return err
		}
		if pin.Files != "" && want.digest() != strings.ToLower(pin.Files) {
			return fmt.Errorf("its files= is %s, but the files of the archive have the digest %s; 'imagebuilder mod vendor %s' sets it right", pin.Files, want.digest(), pin.Name)
		}
		if !vendored {
			return nil
		}
		got, err := usual.sumsOf(os.DirFS(pin.vendored(base)))
		if err != nil {
			return err
		}
		var errs []error
		for _, one := range got.differences(want) {
			errs = append(errs, fmt.Errorf("%s: %s", filepath.Join(base, VendorDir, pin.Name), one))
		}
		return problems.Join(errs...)
	})
	if !vendored {
		return err
	}
	wrong := pin.checkVendored(base)
	if wrong == nil && errors.Is(err, fetch.ErrOffline) {
		return nil
	}
	return problems.Join(wrong, err)
}

// Strays are directories of vendored copies that no pin of a list has.
func (l *List) Strays(base string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(base, VendorDir))
	if errors.Is(err, fs.ErrNotExist) || len(l.Pins()) == 0 { // then it may be anybody's
		return nil, nil
	}
	var strays []string
	for _, e := range entries {
		if pin, ok := l.Find(e.Name()); !ok || pin.URL == "" {
			strays = append(strays, e.Name())
		}
	}
	return strays, err
}
