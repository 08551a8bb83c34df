package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/registry"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/treetask"
	"imagebuilder/builtins/unpack"
)

// Container images: what a reference means now is a question of the network, the blobs of its
// layers are files of the store, and all layers together are one change.

// An OCIImage is where an image is, and what was found there.
type OCIImage struct {
	Query  registry.Query
	Dir    string // or the directory of a layout, on the host
	File   *File  // or the archive of one
	Source string // as the recipe says it

	Found registry.Image // assumed in a plan
}

// FindImage asks which image is meant at the moment.
func FindImage(i OCIImage) Question[registry.Image] {
	return Question[registry.Image]{
		What:  "oci_image",
		Shown: func(found registry.Image) []string { return []string{found.Digest} },
		Find: func(ctx context.Context, b *Builder) (found registry.Image, err error) {
			switch {
			case i.Query.Reference == "":
				err = i.layout(ctx, b, func(l *registry.Layout) (err error) { found, err = l.Find(i.Query); return err })
			case b.Fetch.Offline:
				err = fetch.ErrOffline
			default:
				found, err = b.registry().Find(ctx, i.Query)
			}
			if err != nil {
				return found, fmt.Errorf("cannot find the image %s: %w", i.Source, err)
			}
			if i.Query.Reference != "" && !found.Pinned {
				b.Log.Warn("what the image holds is known by no digest: @"+found.Digest+" behind its name would say it", "image", i.Source)
			}
			return found, nil
		},
		Assume: func(*Planner) (registry.Image, bool) {
			return registry.Image{Digest: "<digest of " + i.Source + ">", Platform: i.Query.Platform}, false
		},
	}
}

func (b *Builder) registry() registry.Client { return registry.Client{Transport: b.Fetch} }

// layout opens the layout that an image is in.
func (i OCIImage) layout(ctx context.Context, b *Builder, do func(*registry.Layout) error) error {
	open, name := registry.OpenDir, i.Dir
	if i.File != nil {
		archive, err := b.archive(ctx, i.File)
		if err != nil {
			return err
		}
		open, name = registry.OpenArchive, archive.path
	}
	l, err := open(name)
	if err != nil {
		return err
	}
	return errors.Join(do(l), l.Close())
}

// maxArchive bounds the archive of a layout without its compression, in bytes.
const maxArchive = 64 << 30

// archive returns a tar archive as it is without its compression.
func (b *Builder) archive(ctx context.Context, f *File) (*File, error) {
	format, err := unpack.Detect(f.path)
	if err != nil || format.Packed == "" {
		return f, err
	}
	return opener{b, maxArchive}.decompressed(ctx, f, format.Packed)
}

// Blobs makes files of the layers of an image.
func Blobs(i OCIImage) Product {
	p := Product{Unshown: true, Do: func(ctx context.Context, b *Builder) (files []*File, err error) {
		if i.Query.Reference != "" {
			files, err = b.pull(ctx, i)
		} else {
			files, err = b.copyBlobs(ctx, i)
		}
		if err != nil {
			err = fmt.Errorf("cannot get a layer of %s: %w", i.Source, err)
		}
		return files, err
	}}
	for range i.Found.Layers {
		p.Files = append(p.Files, &File{Name: "layer"})
	}
	return p
}

// pull downloads the layers of an image, side by side.
func (b *Builder) pull(ctx context.Context, i OCIImage) ([]*File, error) {
	start := time.Now()
	wishes, err := b.pulls(i)
	if err != nil {
		return nil, err
	}
	defer b.prefetch(ctx, wishes)()
	var files []*File
	for n, w := range wishes {
		l := i.Found.Layers[n]
		f, err := b.obtain(ctx, w.Request)
		if err == nil && f.Size != l.Size {
			err = fmt.Errorf("the blob %s is of %d bytes, its image says %d", l.Digest, f.Size, l.Size)
		}
		if err != nil {
			return nil, foreign(l, err)
		}
		files = append(files, f.Renamed("layer "+l.Digest))
	}
	b.Log.Info("step", "step", "layers", "what", i.Source, "took", time.Since(start))
	return files, nil
}

// pulls are the requests for the layers of an image, which introduce themselves once.
func (b *Builder) pulls(i OCIImage) ([]fetch.Wish, error) {
	via, err := b.registry().Blobs(i.Query)
	if err != nil {
		return nil, err
	}
	var wishes []fetch.Wish
	for n, l := range i.Found.Layers {
		r := fetch.Request{Size: l.Size, Via: via, Label: fmt.Sprintf("%s, layer %d", i.Source, n+1)}
		if r.SHA256, err = l.SHA256(); err != nil {
			return nil, err
		}
		if r.URL, err = i.Query.Blob(l); err != nil {
			return nil, err
		}
		wishes = append(wishes, fetch.Wish{Request: r})
	}
	return wishes, nil
}

// foreign says why a layer may not be there.
func foreign(l registry.Layer, err error) error {
	if l.Elsewhere == "" {
		return err
	}
	return fmt.Errorf("%w; it is one that is not passed on, but kept at %s: push the image with all its layers and take that", err, l.Elsewhere)
}

// copyBlobs takes the layers of an image from its layout.
func (b *Builder) copyBlobs(ctx context.Context, i OCIImage) (files []*File, err error) {
	for _, l := range i.Found.Layers {
		f, err := b.copyBlob(ctx, i, l)
		if err != nil {
			return nil, foreign(l, err)
		}
		files = append(files, f.Renamed("layer "+l.Digest))
	}
	return files, nil
}

func (b *Builder) copyBlob(ctx context.Context, i OCIImage, l registry.Layer) (*File, error) {
	want, err := l.SHA256()
	if err != nil {
		return nil, err
	}
	st := layer.Origin{Name: "blob", Inputs: []layer.Input{{Name: "sha256", Value: want}}, Summary: i.Source, Intact: stillDescribed}
	e, _, err := b.Store.Get(ctx, layer.Base{}, st, func(dir string) error {
		name := filepath.Join(dir, contentName)
		err := i.layout(ctx, b, func(o *registry.Layout) error {
			r, err := o.Open(l)
			if err != nil {
				return err
			}
			return errors.Join(save(ctx, name, r, l.Size), r.Close())
		})
		if err != nil {
			return err
		}
		f, err := openFile(name, "the blob")
		if err == nil && f.SHA256 != want {
			err = fmt.Errorf("the blob has the SHA-256 %s, want %s", f.SHA256, want)
		}
		if err != nil {
			return err
		}
		return describe(dir, contentName)
	})
	if err != nil {
		return nil, err
	}
	return described(e.Data())
}

// save writes what must have a size to a file of the host.
func save(ctx context.Context, name string, r io.Reader, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(r, size+1))
	if err == nil && n != size {
		err = fmt.Errorf("the blob is not of %d bytes", size)
	}
	return errors.Join(err, f.Close(), context.Cause(ctx))
}

// UnpackImage puts all layers of an image onto the root file system.
func UnpackImage(i OCIImage, blobs []*File, bounds Bounds) Change {
	return Change{Reads: blobs, Do: func(ctx context.Context, _ *Builder, stack sandbox.Stack, _ io.Writer) error {
		args := treetask.Layers{Bytes: bounds.Size, Entries: bounds.Entries}
		var files []*os.File
		defer func() {
			for _, f := range files {
				f.Close()
			}
		}()
		for n, blob := range blobs {
			f, err := os.Open(blob.path)
			if err != nil {
				return err
			}
			files = append(files, f)
			sum, ok := strings.CutPrefix(i.Found.Layers[n].DiffID, "sha256:")
			if !ok {
				return fmt.Errorf("a layer of %s has the digest %q, which is no SHA-256", i.Source, i.Found.Layers[n].DiffID)
			}
			args.SHA256 = append(args.SHA256, sum)
		}
		if _, err := treetask.Layering.Run(ctx, []sandbox.Stack{stack}, args, files...); err != nil {
			return fmt.Errorf("cannot unpack %s: %w", i.Source, err)
		}
		return nil
	}}
}
