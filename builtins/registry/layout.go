package registry

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A Layout is images in the files of a directory or of an archive; see image-layout.md of the
// image specification. What docker save writes is laid out otherwise, and serves as well.
type Layout struct {
	open  func(name string) (*content, error)
	close func() error
}

// content is that of a file, and its size in bytes.
type content struct {
	io.ReadCloser
	size int64
}

// Close lets go of it.
func (l *Layout) Close() error { return l.close() }

// OpenDir opens the layout in a directory. No link leads out of that.
func OpenDir(dir string) (*Layout, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	open := func(name string) (*content, error) {
		f, err := root.Open(name)
		if err != nil {
			return nil, err
		}
		st, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return &content{f, st.Size()}, nil
	}
	return &Layout{open, root.Close}, nil
}

// OpenArchive opens the layout in a tar archive that is not compressed.
func OpenArchive(name string) (*Layout, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	l, err := inArchive(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	l.close = f.Close
	return l, nil
}

// inArchive is the layout in what has the bytes of an archive.
func inArchive(r interface {
	io.ReadSeeker
	io.ReaderAt
}) (*Layout, error) {
	members, err := members(r)
	if err != nil {
		return nil, err
	}
	return &Layout{open: func(name string) (*content, error) {
		m, err := follow(members, name)
		if err != nil {
			return nil, err
		}
		return &content{io.NopCloser(io.NewSectionReader(r, m.at, m.size)), m.size}, nil
	}}, nil
}

// A member is where the file of an archive lies in it, or what it is a link to.
type member struct {
	at, size int64
	link     string // from the root of the archive; "": it is none
}

// maxMembers bounds how many files an archive may have, and maxLinks how many links lead on
// to each other.
const (
	maxMembers = 100_000
	maxLinks   = 8
)

// members returns the files and links of an archive.
func members(f io.ReadSeeker) (map[string]member, error) {
	all := make(map[string]member)
	r := tar.NewReader(f)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the archive: %w", err)
		}
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		if len(all) == maxMembers {
			return nil, errors.New("the archive holds too many files")
		}
		name := path.Clean(h.Name)
		switch h.Typeflag {
		case tar.TypeReg:
			all[name] = member{at: at, size: h.Size}
		case tar.TypeLink:
			all[name] = member{link: path.Clean(h.Linkname)}
		case tar.TypeSymlink:
			all[name] = member{link: path.Join(path.Dir(name), h.Linkname)}
		}
	}
}

// follow returns the file that a name leads to.
func follow(members map[string]member, name string) (member, error) {
	at := path.Clean(name)
	for range maxLinks {
		m, ok := members[at]
		if !ok {
			return member{}, fmt.Errorf("%s: %w in the archive", name, fs.ErrNotExist)
		}
		if m.link == "" {
			return m, nil
		}
		at = m.link
	}
	return member{}, fmt.Errorf("%s leads from link to link in the archive", name)
}

// Find returns the image that is meant.
func (l *Layout) Find(q Query) (Image, error) {
	want, err := q.platform()
	if err != nil {
		return Image{}, err
	}
	data, err := l.read("index.json")
	if errors.Is(err, fs.ErrNotExist) {
		return l.findSaved(q)
	}
	if err != nil {
		return Image{}, err
	}
	title := q.Name
	for range maxNesting {
		index, err := v1.ParseIndexManifest(bytes.NewReader(data))
		if err != nil {
			return Image{}, fmt.Errorf("cannot read its index: %w", err)
		}
		d, err := choose(index.Manifests, want, title)
		if err != nil {
			return Image{}, err
		}
		if data, err = l.blob(d.Digest); err != nil {
			return Image{}, err
		}
		if !d.MediaType.IsIndex() {
			return l.image(q, d.Digest, data)
		}
		title = "" // it is that of the inner index
	}
	return Image{}, errNested
}

func (l *Layout) image(q Query, digest v1.Hash, data []byte) (Image, error) {
	manifest, err := v1.ParseManifest(bytes.NewReader(data))
	if err != nil {
		return Image{}, fmt.Errorf("cannot read its manifest: %w", err)
	}
	if data, err = l.blob(manifest.Config.Digest); err != nil {
		return Image{}, err
	}
	config, err := readConfig(data)
	if err != nil {
		return Image{}, err
	}
	return q.describe(digest, layersOf(manifest), config)
}

func readConfig(data []byte) (*v1.ConfigFile, error) {
	config := new(v1.ConfigFile)
	if err := json.Unmarshal(data, config); err != nil {
		return nil, fmt.Errorf("cannot read its configuration: %w", err)
	}
	return config, nil
}

// Open returns the blob of a layer. That it is what it should be, whoever reads it has to see.
func (l *Layout) Open(layer Layer) (io.ReadCloser, error) {
	if layer.File != "" {
		return l.open(layer.File)
	}
	digest, err := v1.NewHash(layer.Digest)
	if err != nil {
		return nil, err
	}
	return l.open(blobName(digest))
}

// blob returns a small blob, which must have its digest.
func (l *Layout) blob(digest v1.Hash) ([]byte, error) {
	data, err := l.read(blobName(digest))
	if err != nil {
		return nil, err
	}
	is, _, err := v1.SHA256(bytes.NewReader(data))
	if err == nil && is != digest {
		err = fmt.Errorf("the blob %s has the digest %s", digest, is)
	}
	return data, err
}

func blobName(digest v1.Hash) string { return path.Join("blobs", digest.Algorithm, digest.Hex) }

// maxDocument bounds what is read into memory: indexes, manifests, configurations.
const maxDocument = 8 << 20

func (l *Layout) read(name string) ([]byte, error) {
	r, err := l.open(name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err == nil && len(data) > maxDocument {
		err = fmt.Errorf("%s is too large", name)
	}
	return data, errors.Join(err, r.Close())
}
