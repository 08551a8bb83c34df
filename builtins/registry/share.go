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

// maxDescription bounds what is believed of a registry before anything is verified.
const maxDescription = 16 << 20

// A description is what is signed of an entry.
type description struct {
	Entry   layer.Meta `json:"entry"`
	Archive string     `json:"archive"`      // SHA-256 of the archive without its compression
	Size    int64      `json:"size"`         // of it, in bytes
	By      string     `json:"by,omitempty"` // name of the machine
}

// A Share is such a store. It is a [layer.Remote]; its fields are set before its first use.
type Share struct {
	Keys   []signing.Key // whose entries are taken
	Signer *signing.Key  // signs what is given; nil: nothing is
	Giving Giving        // what is
	Log    *slog.Logger

	// Anew are addresses whose layers are not taken but built, and compared with what is there.
	Anew map[string]bool

	repo   name.Repository
	puller *remote.Puller
	pusher *remote.Pusher

	mu      sync.Mutex
	found   map[string]offer // by address
	used    map[string]bool  // addresses
	trouble [2]error         // why it is not asked any more, and why nothing is given to it
	given   int              // entries
	taken   int
	rebuilt []Rebuilt

	gifts gifts
}

// What is not done any more where there is trouble.
const (
	asking = iota
	giving
)

// An offer is what was found at an address.
type offer struct {
	description
	envelope []byte
	blob     v1.Layer
}

// NewShare returns the store in a repository, such as registry.example:5000/team/layers. It asks
// nobody.
func NewShare(repository string) (*Share, error) {
	repo, err := name.NewRepository(repository, name.StrictValidation)
	if err != nil || strings.Contains(repository, "://") {
		return nil, fmt.Errorf("not a repository, as HOST[:PORT]/PATH: %q", repository)
	}
	s := &Share{repo: repo, found: make(map[string]offer), used: make(map[string]bool), gifts: newGifts(), Log: slog.New(slog.DiscardHandler)}
	return s, s.keep(usualPace)
}

// keep has the registry asked at a pace.
func (s *Share) keep(p pace) (err error) {
	way := http.DefaultTransport.(*http.Transport).Clone()
	way.DialContext = (&net.Dialer{Timeout: p.answer}).DialContext
	options := Client{patient{way, p}}.options(context.Background())
	if s.puller, err = remote.NewPuller(options...); err == nil {
		s.pusher, err = remote.NewPusher(options...)
	}
	return err
}

// String is the repository.
func (s *Share) String() string { return s.repo.String() }

// Look implements [layer.Remote].
func (s *Share) Look(ctx context.Context, address string) (*layer.Meta, error) {
	if len(s.Keys) == 0 || s.troubled(asking) {
		return nil, nil
	}
	o, err := s.look(ctx, address)
	switch {
	case missing(err) || err != nil && context.Cause(ctx) != nil:
		return nil, nil
	case err != nil && unusable(err):
		s.giveUp(err, asking, giving)
		return nil, nil
	case err != nil:
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.found[address] = o
	if s.Anew[address] {
		return nil, nil
	}
	return &o.Entry, nil
}

func (s *Share) look(ctx context.Context, address string) (offer, error) {
	got, err := s.puller.Get(ctx, s.repo.Tag(address))
	if err != nil {
		return offer{}, err
	}
	image, err := got.Image()
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
	var o offer
	if o.envelope, err = image.RawConfigFile(); err != nil {
		return offer{}, err
	}
	text, err := signing.Open(ctx, descriptionType, o.envelope, s.Keys...)
	if err != nil {
		return offer{}, fmt.Errorf("cannot trust %s:%s: %w", s.repo, address, err)
	}
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
	if err == nil {
		err = errors.Join(unarchive(ctx, blob, dir, o.description), blob.Close())
	}
	var slow slowError
	if errors.As(err, &slow) {
		s.giveUp(err, asking, giving)
	}
	if err != nil {
		return err
	}
	s.Used(address)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken++
	return nil
}

// Used implements [layer.Remote].
func (s *Share) Used(address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used[address] = true
}

func (s *Share) troubled(what int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble[what] != nil
}

// giveUp does some things no more with the store, which is said once.
func (s *Share) giveUp(err error, what ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.trouble
	for _, w := range what {
		s.trouble[w] = err
	}
	switch {
	case before[asking] == nil && s.trouble[asking] != nil:
		s.Log.Warn("the shared store cannot be used: steps are built here", "store", s.repo.String(), "cause", err)
	case before[asking] == nil && before[giving] == nil:
		s.Log.Warn("the shared store takes nothing: what is built here stays here", "store", s.repo.String(), "cause", err)
	}
}

// missing tells whether a registry says that it does not have something.
func missing(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

// answered tells whether an error is what a registry has said.
func answered(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer)
}

// unusable tells whether it is no use to ask a registry again: it cannot be reached, or does not
// let us in, or has enough of us.
func unusable(err error) bool {
	var answer *transport.Error
	if errors.As(err, &answer) {
		switch answer.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
			return true
		}
		return answer.StatusCode >= 500
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF)
}

// closing bounds how long the end of a run waits for what is still being given.
const closing = 5 * time.Minute
