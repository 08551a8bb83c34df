package streams

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/magic"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
	"imagebuilder/streams/site"
)

// Add is the way of a new image onto a site: what the files are, which product and version
// they make, and how that appears as a whole. What it takes to fill the version is in
// addfill.go, what is read of foreign archives in metadata.go and split.go.

// AddOptions say what Add puts into the tree. What is empty of Name and Version is
// taken from the metadata of the image.
type AddOptions struct {
	Site             // Streams: the one to add to; nil: DefaultStream
	Files   []string // metadata tarball, root file systems and image.yaml, or a unified tarball, or directories with them
	Name    catalog.Name
	Version string // if it is given, it must be free
	Link    bool   // link the files instead of copying them, where that is possible
}

// Added says where an image is in the tree.
type Added struct {
	Path         string   // directory of the version, from the root
	Product      string   // id
	Version      string   //
	Fingerprints []string // of the images
	Existed      bool     // it was there already, and nothing was added
}

// Add puts a built image into the tree as a new version, under a hidden name until
// all of it is safely on the disk. It is not listed before the next Build. A unified
// image is taken apart. If the tree has the image already, Add says where. A root that
// is not there yet is made.
func Add(ctx context.Context, opts AddOptions) (Added, error) {
	if err := ensureRoot(opts.Root); err != nil {
		return Added{}, err
	}
	w, err := opts.Site.open()
	if err != nil {
		return Added{}, err
	}
	defer w.close()
	if len(w.Streams) != 1 {
		return Added{}, errors.New("an image can only be added to one stream")
	}
	if opts.Version != "" {
		if err := catalog.CheckVersion(opts.Version); err != nil {
			return Added{}, err
		}
	}
	a := &adder{openSite: w, opts: opts}
	defer a.closeAll()
	if err := a.collect(ctx); err != nil {
		return Added{}, err
	}
	if err := a.identify(); err != nil {
		return Added{}, err
	}
	return a.add(ctx)
}

// ensureRoot makes the root, readable for a web server whatever the umask.
func ensureRoot(root string) error {
	err := os.Mkdir(root, 0o755)
	if err == nil {
		err = os.Chmod(root, 0o755)
	}
	if root == "" || errors.Is(err, fs.ErrExist) {
		return nil // whether it is a directory shows when it is opened
	}
	return err
}

// An adder is one run of Add.
type adder struct {
	*openSite
	opts    AddOptions
	sources []addedFile
	unified *addedFile
	meta    *imageMetadata
	place   catalog.Location
}

// A addedFile is a file to add.
type addedFile struct {
	file *os.File
	as   string         // name in the version
	sum  *digest.Digest // that came with it, nil if none did
	content
}

func (a *adder) closeAll() {
	for _, s := range a.sources {
		s.file.Close()
	}
}

// collect opens the files and finds out what they are.
func (a *adder) collect(ctx context.Context) error {
	for _, name := range a.opts.Files {
		names := []string{name}
		var sums map[string]digest.Digest
		if st, err := os.Stat(name); err == nil && st.IsDir() {
			if names, err = itemsIn(name); err != nil {
				return err
			}
			if sums, err = sumsIn(name, names); err != nil {
				return err
			}
		}
		for _, name := range names {
			if err := a.collectFile(ctx, name); err != nil {
				return fmt.Errorf("%s: %w", name, dirfd.Cause(err))
			}
			if sum, ok := sums[filepath.Base(name)]; ok {
				a.sources[len(a.sources)-1].sum = &sum
			}
		}
	}
	roots := 0
	for i := range a.sources {
		s := &a.sources[i]
		switch {
		case s.meta != nil && (s.rootfs || s.disk):
			a.unified, a.meta = s, s.meta
		case s.meta != nil && a.meta == nil:
			a.meta = s.meta
		case inventory.Classify(s.as, false).IsRootfs():
			roots++
		}
	}
	switch {
	case a.meta == nil:
		return errors.New("there is no metadata tarball among the files")
	case a.unified != nil && (roots > 0 || len(a.sources) > 1):
		return errors.New("a unified image is added alone")
	case a.unified == nil && roots == 0:
		return errors.New("there is no root file system among the files")
	}
	return nil
}

// itemsIn returns the files of a directory that can be part of a version: by their
// names there, or as tarballs of any name, as builders leave them.
func itemsIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		c := inventory.Classify(e.Name(), false)
		name := filepath.Join(dir, e.Name())
		switch {
		case !e.Type().IsRegular() || c == inventory.Delta || c == inventory.SumsFile || strings.HasPrefix(e.Name(), "."):
		case c != inventory.Other || strings.Contains(e.Name(), ".tar") && isTarball(name):
			names = append(names, name)
		}
	}
	return names, nil
}

// isTarball tells by its beginning whether a file is an archive, perhaps compressed, and
// not something about one, such as its signature. One that cannot be read is taken, so
// that it is not passed over silently.
func isTarball(name string) bool {
	f, err := os.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return true
	}
	defer f.Close()
	head, _ := magic.Head(f)
	switch magic.Of(head) {
	case magic.Bzip2, magic.Gzip, magic.XZ, magic.Zstd, magic.Tar, magic.Squashfs, magic.Qcow2:
		return true
	}
	return false // or it is compressed in a way in which images are not
}

func (a *adder) collectFile(ctx context.Context, name string) error {
	f, err := os.OpenFile(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	s := addedFile{file: f, as: filepath.Base(name)}
	a.sources = append(a.sources, s) // from here on it is closed with the others
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	if err := s.recognize(ctx); err != nil {
		return err
	}
	for _, other := range a.sources[:len(a.sources)-1] {
		if other.as == s.as {
			return fmt.Errorf("there is another file that becomes %s", s.as)
		}
	}
	a.sources[len(a.sources)-1] = s
	return nil
}

// recognize finds out by its content what a file is, and so its name in a version.
func (s *addedFile) recognize(ctx context.Context) error {
	switch inventory.Classify(s.as, false) {
	case inventory.ConfigFile, inventory.DiskUEFI1, inventory.DiskDisk1:
		return nil // raw disks cannot be told from anything
	}
	head, _ := magic.Head(s.file) // an error comes again below
	switch magic.Of(head) {
	case magic.Squashfs:
		s.as = inventory.SquashfsName
		return nil
	case magic.Qcow2:
		s.as = inventory.DiskName
		return nil
	}
	var err error
	if s.content, err = inspect(ctx, s.file); err != nil {
		return err
	}
	switch {
	case s.meta == nil:
		s.as = inventory.RootTarXZName
	case s.as != catalog.IncusMeta:
		s.as = catalog.LXDMeta
	}
	return nil
}

// identify decides which product and version the image is.
func (a *adder) identify() error {
	name, err := a.meta.name(a.opts.Name)
	if err != nil {
		return err
	}
	version := a.opts.Version
	if version == "" {
		version = a.meta.version(a.clock())
	}
	a.place = name.In(a.Streams[0]).Of(version)
	return nil
}

// add makes the version under a hidden name, looks whether it is new and, if so,
// gives it its own.
func (a *adder) add(ctx context.Context) (Added, error) {
	hidden, err := a.makeHidden()
	if err != nil {
		return Added{}, err
	}
	v, err := a.fill(ctx, hidden)
	if err == nil {
		var twin *Added
		if twin, err = a.twin(ctx, v); twin != nil {
			return *twin, a.files.RemoveAll(hidden.Path())
		}
	}
	if err == nil {
		err = a.reveal(hidden)
	}
	if err != nil {
		return Added{}, errors.Join(err, a.files.RemoveAll(hidden.Path()))
	}
	return addedAt(a.place, v.Prints(), false), nil
}

// addedAt says where an image is.
func addedAt(place catalog.Location, prints []string, existed bool) Added {
	return Added{place.Path(), place.Product.ID(), place.Version, prints, existed}
}

// makeHidden makes the directory in which the version is put together.
func (a *adder) makeHidden() (catalog.Location, error) {
	for i := 1; ; i++ {
		hidden := a.place.Of(fmt.Sprintf(".%s.add-%d", a.place.Version, i))
		if err := a.files.MkdirAll(a.place.Of("").Path(), site.DirMode); err != nil {
			return hidden, err
		}
		err := a.files.Mkdir(hidden.Path(), site.DirMode)
		switch {
		case err == nil:
			return hidden, nil
		case i < 1000 && (errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist)):
			// Somebody else adds, or a prune has swept the empty directory away.
		default:
			return hidden, err
		}
	}
}

// reveal gives the version its name. If it was not asked for, a later one will do.
func (a *adder) reveal(hidden catalog.Location) error {
	for {
		err := a.files.RenameNew(hidden.Path(), a.place.Path())
		if err == nil {
			return a.files.SyncUp(a.place.Of("").Path())
		}
		if !errors.Is(err, fs.ErrExist) || a.opts.Version != "" {
			return err
		}
		if a.place.Version, err = later(a.place.Version); err != nil {
			return err
		}
	}
}
