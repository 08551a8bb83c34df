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
// image specification.
type Layout struct {
	open  func(name string) (io.ReadCloser, error)
	close func() error
}

// Close lets go of it.
func (l *Layout) Close() error { return l.close() }

// OpenDir opens the layout in a directory. No link leads out of that.
func OpenDir(dir string) (*Layout, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Layout{func(name string) (io.ReadCloser, error) { return root.Open(name) }, root.Close}, nil
}

// OpenArchive opens the layout in a tar archive that is not compressed.
func OpenArchive(name string) (*Layout, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	members, err := members(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	open := func(name string) (io.ReadCloser, error) {
		m, ok := members[name]
		if !ok {
			return nil, fmt.Errorf("%s: %w in the archive", name, fs.ErrNotExist)
		}
		return io.NopCloser(m), nil
	}
	return &Layout{open, f.Close}, nil
}

// maxMembers bounds how many files an archive may have.
const maxMembers = 100_000

// members returns where the files of an archive lie in it.
func members(f io.ReadSeeker) (map[string]*section, error) {
	all := make(map[string]*section)
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
		if h.Typeflag == tar.TypeReg {
			all[path.Clean(h.Name)] = &section{f, at, h.Size}
		}
	}
}

// A section is a part of a file that is read by one reader at a time.
type section struct {
	f        io.ReadSeeker
	at, left int64
}

func (s *section) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	if _, err := s.f.Seek(s.at, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := s.f.Read(p[:min(int64(len(p)), s.left)])
	s.at, s.left = s.at+int64(n), s.left-int64(n)
	return n, err
}

// Find returns the image that is meant.
func (l *Layout) Find(q Query) (Image, error) {
	want, err := q.platform()
	if err != nil {
		return Image{}, err
	}
	data, err := l.read("index.json")
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
	var config v1.ConfigFile
	if err := json.Unmarshal(data, &config); err != nil {
		return Image{}, fmt.Errorf("cannot read its configuration: %w", err)
	}
	return q.describe(digest, layersOf(manifest), &config)
}

// Open returns the blob of a layer. That it is what it should be, whoever reads it has to see.
func (l *Layout) Open(layer Layer) (io.ReadCloser, error) {
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
