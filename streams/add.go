package streams

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"imagebuilder/streams/catalog"
	"imagebuilder/streams/site"
)

// Add is the way of a new image onto a site: what the files are, which product and version
// they make, and how that appears as a whole. Which files those are is found out in
// addcollect.go; what it takes to fill the version is in addfill.go, and what is read of
// foreign archives in metadata.go and split.go.

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
	beside  []*os.File // documents about them
	meta    *imageMetadata
	place   catalog.Location
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
