package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/signing"
)

// A repository as a store that machines share: an entry is an image of one layer, whose tag is
// its address and whose configuration is its description, signed. A layer runs as root in the
// next step, so that to take one is to trust whoever has signed it. Nothing is ever needed of the
// store: what it does not have, or cannot give, is built.

// Media types of what is kept.
const (
	descriptionType = "application/vnd.imagebuilder.layer.v1+json" // what the envelope holds
	envelopeType    = "application/vnd.dsse.envelope.v1+json"
	archiveType     = "application/vnd.imagebuilder.layer.v1.tar+zstd"
)

// Bounds of what is believed of a registry before anything is verified.
const (
	maxDescription = 16 << 20
	patience       = 5 * time.Second // to be connected, and for the first byte of each answer
)

// A description is what is signed of an entry.
type description struct {
	Entry   layer.Meta `json:"entry"`
	Archive string     `json:"archive"` // SHA-256 of the archive without its compression
	Size    int64      `json:"size"`    // of it, in bytes
}

// A Share is such a store. It is a [layer.Remote]; its fields are set before its first use.
type Share struct {
	Keys   []signing.Key // whose entries are taken
	Signer *signing.Key  // signs what is given; nil: nothing is
	Log    *slog.Logger

	repo   name.Repository
	client Client

	mu      sync.Mutex
	found   map[string]offer // by address
	trouble error            // why the store is not asked any more
	given   int              // entries
	taken   int
	giving  sync.WaitGroup
	turn    chan struct{} // one entry is given at a time
}

// An offer is what was found at an address.
type offer struct {
	description
	blob v1.Layer
}

// NewShare returns the store in a repository, such as registry.example:5000/team/layers. It asks
// nobody.
func NewShare(repository string) (*Share, error) {
	repo, err := name.NewRepository(repository, name.StrictValidation)
	if err != nil || strings.Contains(repository, "://") {
		return nil, fmt.Errorf("not a repository, as HOST[:PORT]/PATH: %q", repository)
	}
	way := http.DefaultTransport.(*http.Transport).Clone()
	way.DialContext = (&net.Dialer{Timeout: patience}).DialContext
	way.TLSHandshakeTimeout, way.ResponseHeaderTimeout = patience, patience
	return &Share{repo: repo, client: Client{way}, found: make(map[string]offer), turn: make(chan struct{}, 1), Log: slog.New(slog.DiscardHandler)}, nil
}

// Look implements [layer.Remote].
func (s *Share) Look(ctx context.Context, address string) (*layer.Meta, error) {
	if len(s.Keys) == 0 || s.troubled() != nil {
		return nil, nil
	}
	o, err := s.look(ctx, address)
	switch {
	case missing(err):
		return nil, nil
	case err != nil && unusable(err):
		return nil, s.giveUp(err)
	case err != nil:
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found[address] = o
	return &o.Entry, nil
}

func (s *Share) look(ctx context.Context, address string) (offer, error) {
	image, err := remote.Image(s.repo.Tag(address), s.client.options(ctx)...)
	if err != nil {
		return offer{}, err
	}
	manifest, err := image.Manifest()
	if err != nil {
		return offer{}, err
	}
	if manifest.Config.MediaType != envelopeType || manifest.Config.Size > maxDescription || len(manifest.Layers) != 1 {
		return offer{}, fmt.Errorf("%s:%s is no layer of imagebuilder", s.repo, address)
	}
	envelope, err := image.RawConfigFile()
	if err != nil {
		return offer{}, err
	}
	text, err := signing.Open(ctx, descriptionType, envelope, s.Keys...)
	if err != nil {
		return offer{}, fmt.Errorf("cannot trust %s:%s: %w", s.repo, address, err)
	}
	var o offer
	if err := json.Unmarshal(text, &o.description); err != nil {
		return offer{}, fmt.Errorf("cannot read %s:%s: %w", s.repo, address, err)
	}
	if layer.Address(o.Entry.Key, o.Entry.BaseID) != address {
		return offer{}, fmt.Errorf("%s:%s is about something else: it has the key %s", s.repo, address, o.Entry.Key)
	}
	layers, err := image.Layers()
	if err == nil {
		o.blob = layers[0]
	}
	return o, err
}

// Pull implements [layer.Remote].
func (s *Share) Pull(ctx context.Context, address, dir string) error {
	s.mu.Lock()
	o, ok := s.found[address]
	s.mu.Unlock()
	if !ok {
		return errors.New("internal error: it was not looked for")
	}
	blob, err := o.blob.Compressed() // which verifies the digest of the blob
	if err != nil {
		return err
	}
	defer blob.Close()
	if err := unarchive(ctx, blob, dir, o.description); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken++
	return nil
}

// Push implements [layer.Remote]. It is done while the build goes on: see Close.
func (s *Share) Push(ctx context.Context, address string, meta layer.Meta, dir string) error {
	if s.Signer == nil || s.troubled() != nil {
		return nil
	}
	s.giving.Go(func() {
		s.turn <- struct{}{}
		defer func() { <-s.turn }()
		if s.troubled() != nil || context.Cause(ctx) != nil {
			return
		}
		err := s.give(ctx, address, meta, dir)
		switch {
		case err == nil || context.Cause(ctx) != nil:
		case unusable(err):
			s.giveUp(err)
		default:
			s.Log.Warn("cannot give a layer to others", "step", meta.Step, "cause", err)
		}
	})
	return nil
}

// give puts an entry into the repository. The tag comes last, and with it the whole.
func (s *Share) give(ctx context.Context, address string, meta layer.Meta, dir string) error {
	a, err := newArchive(ctx, dir)
	if err != nil {
		return err
	}
	defer a.Close()
	if meta.ID != "" && meta.ID != a.plain {
		return fmt.Errorf("it has changed: its content has the SHA-256 %s, not %s", a.plain, meta.ID)
	}
	text, err := json.Marshal(description{Entry: meta, Archive: a.plain, Size: a.plainSize})
	if err != nil {
		return err
	}
	envelope, err := s.Signer.Sign(ctx, descriptionType, text)
	if err != nil {
		return err
	}
	image, err := a.image(envelope)
	if err != nil {
		return err
	}
	if err := remote.Write(s.repo.Tag(address), image, s.client.options(ctx)...); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given++
	return nil
}

// Close waits for what is being given, and returns how many entries were taken and given.
func (s *Share) Close() (taken, given int) {
	s.giving.Wait()
	return s.taken, s.given
}

func (s *Share) troubled() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble
}

// giveUp asks the store for nothing more, which is said once.
func (s *Share) giveUp(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trouble == nil {
		s.trouble = err
		s.Log.Warn("the shared store cannot be used: steps are built here", "store", s.repo.String(), "cause", err)
	}
	return nil
}

// missing tells whether a registry says that it does not have something.
func missing(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

// unusable tells whether it is no use to ask a registry again: it cannot be reached, or does not
// let us in, or has no room.
func unusable(err error) bool {
	var answer *transport.Error
	if errors.As(err, &answer) {
		return answer.StatusCode >= 500 || answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF)
}
