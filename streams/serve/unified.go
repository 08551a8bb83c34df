package serve

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"

	"imagebuilder/builtins/digest"
	"imagebuilder/streams"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
)

// Images in one piece, which are in the tree in two. None is kept: each is made again of its
// parts whenever it is wanted, and only its hash is remembered.

// unifiedDir is where an image is in one piece: VERSION/unified/METADATA/ROOT.tar.
const unifiedDir = "unified"

// A unifiedSum is what is known of an image in one piece.
type unifiedSum struct {
	sum  digest.Digest
	size int64
}

// An image is the open parts of one that is wanted in one piece.
type image struct {
	streams.Parts
	tag string
}

func (i *image) close() {
	i.Meta.Close()
	i.Root.Close()
}

// openImage opens the parts of the image that a name is of, if it is that of one.
func (s *Server) openImage(name string) (i *image, err error) {
	rest, root := path.Split(name)
	rest, meta := path.Split(path.Clean(rest))
	dir := path.Dir(path.Clean(rest))
	root, isTar := strings.CutSuffix(root, ".tar")
	place, err := catalog.ParseLocation(dir)
	class := inventory.Classify(root, false)
	if err != nil || place.Version == "" || !isTar || path.Base(rest) != unifiedDir || !class.IsRootfs() || meta != catalog.LXDMeta && meta != catalog.IncusMeta {
		return nil, errNotFile
	}
	m, mst, err := s.open(place.File(meta))
	if err != nil {
		return nil, err
	}
	f, st, err := s.open(place.File(root))
	if err != nil {
		m.Close()
		return nil, err
	}
	return &image{streams.Parts{Meta: m, Root: f, Disk: class.IsDisk()}, etag(mst, "") + etag(st, "-tar")}, nil
}

// sumOf returns the hash of an image in one piece. It is found out once: only the changed parts
// of an image are read again.
func (s *Server) sumOf(ctx context.Context, name string) (unifiedSum, error) {
	i, err := s.openImage(name)
	if err != nil {
		return unifiedSum{}, err
	}
	defer i.close()
	select { // one at a time: it takes a processor
	case s.imports.making <- struct{}{}:
	case <-ctx.Done():
		return unifiedSum{}, context.Cause(ctx)
	}
	defer func() { <-s.imports.making }()
	if sum, ok := s.known(i); ok {
		return sum, nil
	}
	h := sha256.New()
	var size counter
	if err := streams.Unify(ctx, io.MultiWriter(h, &size), i.Parts); err != nil {
		return unifiedSum{}, err
	}
	sum := unifiedSum{digest.Of(h), int64(size)}
	s.imports.mu.Lock()
	defer s.imports.mu.Unlock()
	s.imports.sums[i.tag] = sum
	return sum, nil
}

func (s *Server) known(i *image) (unifiedSum, bool) {
	s.imports.mu.Lock()
	defer s.imports.mu.Unlock()
	sum, ok := s.imports.sums[i.tag]
	return sum, ok
}

// A counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// serveUnified answers with an image in one piece, as it is made.
func (s *Server) serveUnified(w http.ResponseWriter, r *http.Request, i *image) {
	h := w.Header()
	h.Set("Content-Type", "application/x-tar")
	h.Set("Cache-Control", cacheShort)
	if sum, ok := s.known(i); ok {
		h.Set("Content-Length", fmt.Sprint(sum.size))
	}
	if r.Method == http.MethodHead {
		return
	}
	if err := streams.Unify(r.Context(), w, i.Parts); err != nil {
		s.log.Warn("Image cannot be unified", "path", r.URL.Path, "error", err)
		panic(http.ErrAbortHandler) // half an image must not look like a whole one
	}
}
