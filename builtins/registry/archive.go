package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"imagebuilder/builtins/treetask"
)

// Entries as blobs: an archive of what is in the directory, compressed. What it is archived by,
// and unpacked, runs in the sandbox.

// An archive is the blob of an entry, in a file without a name.
type archive struct {
	file      *os.File
	digest    v1.Hash // of the file
	size      int64
	plain     string // SHA-256 of the archive without its compression
	plainSize int64
}

// newArchive archives an entry. The file lies where the entry does, without changing that.
func newArchive(ctx context.Context, dir string) (a *archive, err error) {
	file, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	a = &archive{file: file}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	packed := &counted{Writer: file, hash: sha256.New()}
	z, err := zstd.NewWriter(packed, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	plain := &counted{Writer: z, hash: sha256.New()}
	if err := archiveTo(ctx, dir, plain); err != nil {
		return nil, errors.Join(err, z.Close())
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	a.digest = v1.Hash{Algorithm: "sha256", Hex: packed.sum()}
	a.size, a.plain, a.plainSize = packed.n, plain.sum(), plain.n
	return a, nil
}

// counted hashes and counts what is written.
type counted struct {
	io.Writer
	hash hash.Hash
	n    int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.hash.Write(p[:n])
	c.n += int64(n)
	return n, err
}

func (c *counted) sum() string { return hex.EncodeToString(c.hash.Sum(nil)) }

// archiveTo writes the archive of a directory.
func archiveTo(ctx context.Context, dir string, w io.Writer) error {
	from, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer from.Close()
	r, into, err := os.Pipe()
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		_, err := treetask.Archiving.Run(ctx, nil, false, from, into)
		done <- errors.Join(err, into.Close())
	}()
	_, err = io.Copy(w, r)
	err = errors.Join(err, r.Close()) // so that the other end never waits
	return errors.Join(<-done, err)
}

// maxWindow is more memory than our own archives take; what is not believed yet must not choose.
const maxWindow = 64 << 20

// unarchive fills a directory with what a blob has, if that is what was said of it.
func unarchive(ctx context.Context, blob io.Reader, dir string, said description) error {
	to, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer to.Close()
	z, err := zstd.NewReader(blob, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return err
	}
	defer z.Close()
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		_, err := treetask.Filling.Run(ctx, nil, false, to, out)
		done <- errors.Join(err, out.Close())
	}()
	plain := &counted{Writer: in, hash: sha256.New()}
	_, err = io.Copy(plain, io.LimitReader(z, said.Size+1))
	if err == nil && plain.n != said.Size {
		err = fmt.Errorf("it has another size than its description says, %d", said.Size)
	}
	if err == nil && plain.sum() != said.Archive {
		err = fmt.Errorf("its content has the SHA-256 %s, its description says %s", plain.sum(), said.Archive)
	}
	err = errors.Join(err, in.Close())
	failed := <-done
	if errors.Is(err, unix.EPIPE) { // which is only that it has failed
		return failed
	}
	return errors.Join(err, failed)
}

// Close lets go of the file, and so removes it.
func (a *archive) Close() error { return a.file.Close() }

// Digest, DiffID, Size and the others implement [v1.Layer].
func (a *archive) Digest() (v1.Hash, error) { return a.digest, nil }

func (a *archive) DiffID() (v1.Hash, error) { return v1.Hash{Algorithm: "sha256", Hex: a.plain}, nil }

func (a *archive) Size() (int64, error) { return a.size, nil }

func (a *archive) MediaType() (types.MediaType, error) { return archiveType, nil }

func (a *archive) Compressed() (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(a.file, 0, a.size)), nil
}

func (a *archive) Uncompressed() (io.ReadCloser, error) {
	return nil, errors.New("internal error: nobody asks for this")
}

// newImage is an image of blobs, with a text of a media type in the place of a configuration.
func newImage(kind types.MediaType, text []byte, blobs ...blob) (v1.Image, error) {
	config, size, err := v1.SHA256(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	said := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config:      v1.Descriptor{MediaType: kind, Digest: config, Size: size},
		Annotations: map[string]string{createdAnnotation: time.Now().UTC().Format(time.RFC3339)},
	}
	p := parts{text: text, blobs: make(map[v1.Hash]blob)}
	for _, b := range blobs {
		d, err := partial.Descriptor(b)
		if err != nil {
			return nil, err
		}
		said.Layers = append(said.Layers, *d)
		p.blobs[d.Digest] = b
	}
	if p.manifest, err = json.Marshal(said); err != nil {
		return nil, err
	}
	return partial.CompressedToImage(p)
}

// createdAnnotation says when something was put into a registry.
const createdAnnotation = "org.opencontainers.image.created"

// A blob is one of an image.
type blob = partial.CompressedLayer

// parts are those of an image that has no configuration of a container.
type parts struct {
	text     []byte
	manifest []byte
	blobs    map[v1.Hash]blob
}

func (p parts) RawConfigFile() ([]byte, error) { return p.text, nil }

func (p parts) RawManifest() ([]byte, error) { return p.manifest, nil }

func (p parts) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

func (p parts) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	b, ok := p.blobs[h]
	if !ok {
		return nil, fmt.Errorf("internal error: there is no layer %s", h)
	}
	return b, nil
}
