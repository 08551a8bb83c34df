package build

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
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
			if i.Query.Reference != "" {
				if b.Fetch.Offline {
					return found, fetch.ErrOffline
				}
				found, err = b.registry().Find(ctx, i.Query)
			} else {
				err = i.layout(ctx, b, func(l *registry.Layout) (err error) { found, err = l.Find(i.Query); return err })
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

func (b *Builder) registry() registry.Client {
	transport := b.Fetch.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	return registry.Client{Transport: transport}
}

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
	p := Product{Unshown: true, Do: func(ctx context.Context, b *Builder) ([]*File, error) {
		var files []*File
		for _, l := range i.Found.Layers {
			f, err := b.blob(ctx, i, l)
			if err != nil {
				return nil, fmt.Errorf("cannot get a layer of %s: %w", i.Source, err)
			}
			files = append(files, f)
		}
		return files, nil
	}}
	for range i.Found.Layers {
		p.Files = append(p.Files, &File{Name: "layer"})
	}
	return p
}

// blob returns the blob of a layer, which is known by its digest, wherever it comes from.
func (b *Builder) blob(ctx context.Context, i OCIImage, l registry.Layer) (*File, error) {
	want, ok := strings.CutPrefix(l.Digest, "sha256:")
	if sum, err := hex.DecodeString(want); !ok || err != nil || len(sum) != 32 {
		return nil, fmt.Errorf("it has the digest %q, which is no SHA-256", l.Digest)
	}
	st := layer.Origin{Name: "blob", Inputs: []layer.Input{{Name: "sha256", Value: want}}, Summary: i.Source, Intact: stillDescribed}
	e, _, err := b.Store.Get(ctx, layer.Base{}, st, func(dir string) error {
		name := filepath.Join(dir, contentName)
		if i.Query.Reference == "" {
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
		} else if err := b.pullBlob(ctx, i, l, name); err != nil {
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
	f, err := described(e.Data())
	if err != nil {
		return nil, err
	}
	return f.Renamed("layer " + l.Digest), nil
}

// pulls is how often a layer is asked for.
const pulls = 4

// pullBlob downloads a blob. One that is cut off is asked for again, as a whole.
func (b *Builder) pullBlob(ctx context.Context, i OCIImage, l registry.Layer, name string) error {
	if b.Fetch.Offline {
		return fetch.ErrOffline
	}
	start := time.Now()
	for try := 1; ; try++ {
		r, err := b.registry().Open(ctx, i.Query, l)
		if err == nil {
			err = errors.Join(save(ctx, name, r, l.Size), r.Close())
		}
		if err == nil {
			b.Log.Info("step", "step", "layer", "what", i.Source+" "+l.Digest, "took", time.Since(start))
			return nil
		}
		if try == pulls || context.Cause(ctx) != nil || registry.Refused(err) {
			return err
		}
		b.Log.Debug("asking for a layer again", "image", i.Source, "layer", l.Digest, "cause", err)
	}
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
