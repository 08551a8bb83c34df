package registry

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Downloads in a shared store: a blob each, which is known by its digest, so that nobody has to be
// trusted. An image beside it keeps it from being swept away.

// bodyPrefix begins the tags of downloads; their digest follows.
const bodyPrefix = "body-"

// bodyType is the media type of downloads, and emptyType that of what their images say.
const (
	bodyType  = "application/octet-stream"
	emptyType = "application/vnd.oci.empty.v1+json"
)

// Body returns the bytes with a SHA-256, whose reader fails at their end if they are others. The
// error is [fs.ErrNotExist] where the store has none, and where it cannot be asked.
func (s *Share) Body(ctx context.Context, sum string) (io.ReadCloser, error) {
	if s.troubled(asking) {
		return nil, fs.ErrNotExist
	}
	l, err := s.puller.Layer(ctx, s.repo.Digest("sha256:"+sum))
	var body io.ReadCloser
	if err == nil {
		body, err = l.Compressed()
	}
	switch {
	case err == nil:
		return body, nil
	case missing(err) || context.Cause(ctx) != nil:
	case unusable(err):
		s.giveUp(err, asking, giving)
	default:
		return nil, err
	}
	return nil, fs.ErrNotExist
}

// Keep notes that a run uses a file with a SHA-256. A new one is given, if all is.
func (s *Share) Keep(ctx context.Context, sum, file string, isNew bool) {
	s.Used(bodyPrefix + sum)
	if isNew && s.Giving == All {
		s.begin(ctx, []gift{{name: file, put: func(ctx context.Context) error { return s.putBody(ctx, sum, file) }}})
	}
}

func (s *Share) putBody(ctx context.Context, sum, file string) error {
	st, err := os.Stat(file)
	if err != nil {
		return err
	}
	image, err := newImage(emptyType, []byte("{}"), body{file, v1.Hash{Algorithm: "sha256", Hex: sum}, st.Size()})
	if err != nil {
		return err
	}
	return s.pusher.Push(ctx, s.repo.Tag(bodyPrefix+sum), image)
}

// A body is a file as a blob.
type body struct {
	file   string
	digest v1.Hash
	size   int64
}

var _ partial.CompressedLayer = body{}

// Digest, Size and the others implement [partial.CompressedLayer].
func (b body) Digest() (v1.Hash, error) { return b.digest, nil }

func (b body) DiffID() (v1.Hash, error) { return b.digest, nil }

func (b body) Size() (int64, error) { return b.size, nil }

func (b body) MediaType() (types.MediaType, error) { return bodyType, nil }

func (b body) Compressed() (io.ReadCloser, error) { return os.Open(b.file) }

func (b body) Uncompressed() (io.ReadCloser, error) {
	return nil, errors.New("internal error: nobody asks for this")
}
