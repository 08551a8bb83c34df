package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"imagebuilder/builtins/layer"
)

// What is given to a shared store, while the build goes on.

// Giving says what of that which is built here is given.
type Giving string

const (
	None   Giving = "none"
	Shared Giving = "shared" // results, and layers that others are likely to want
	All    Giving = "all"    // every layer as well, and what was downloaded
)

// worthwhile is how long a layer took, in seconds, that others are likely to want.
const worthwhile = 5

// wants tells whether an entry is one that is given.
func (s *Share) wants(m layer.Meta) bool {
	return s.Giving == All || m.ID == "" || m.Network || m.Took >= worthwhile
}

// gifts are what is being given, and what may still have to be.
type gifts struct {
	turn    chan struct{} // two entries are given at a time: what is small does not wait for an image
	under   sync.WaitGroup
	left    int // under way
	late    context.Context
	end     context.CancelCauseFunc // of it: nothing is waited for any longer
	waiting map[string]gift         // layers that nobody wants yet, by key and id
}

// A gift is something that is given.
type gift struct {
	name string // for people
	meta layer.Meta
	put  func(context.Context) error
}

func newGifts() gifts {
	late, end := context.WithCancelCause(context.Background())
	return gifts{turn: make(chan struct{}, 2), late: late, end: end, waiting: make(map[string]gift)}
}

// Push implements [layer.Remote]. It is done while the build goes on: see Close. A layer is of no
// use to anybody who does not have the very one that it lies on, so that this is given before it.
func (s *Share) Push(ctx context.Context, address string, meta layer.Meta, dir string) error {
	s.Used(address)
	if s.Anew[address] {
		s.compare(ctx, address, meta)
		return nil
	}
	s.begin(ctx, s.due(gift{meta.Step, meta, func(ctx context.Context) error { return s.put(ctx, address, meta, dir) }}))
	return nil
}

// due are the entries that are to be given once there is another.
func (s *Share) due(g gift) []gift {
	if s.Signer == nil || s.Giving == None {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.wants(g.meta) {
		s.gifts.waiting[g.meta.Key+g.meta.ID] = g
		return nil
	}
	list := []gift{g}
	for g.meta.ID != "" { // results are found by who has the layers, and these he makes
		id := g.meta.Base + g.meta.BaseID
		below, ok := s.gifts.waiting[id]
		if !ok {
			break
		}
		delete(s.gifts.waiting, id)
		list, g = append([]gift{below}, list...), below
	}
	return list
}

// begin begins to give some things, one after the other.
func (s *Share) begin(ctx context.Context, list []gift) {
	if s.Signer == nil || len(list) == 0 || s.troubled(giving) {
		return
	}
	s.mu.Lock()
	s.gifts.left += len(list)
	s.mu.Unlock()
	s.gifts.under.Go(func() {
		for _, g := range list {
			s.giveInTurn(ctx, g)
			s.mu.Lock()
			s.gifts.left--
			s.mu.Unlock()
		}
	})
}

func (s *Share) giveInTurn(ctx context.Context, g gift) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.gifts.late, func() { cancel(context.Cause(s.gifts.late)) })()
	s.gifts.turn <- struct{}{}
	defer func() { <-s.gifts.turn }()
	if s.troubled(giving) || context.Cause(ctx) != nil || context.Cause(s.gifts.late) != nil {
		return
	}
	s.notGiven(ctx, g.name, g.put(ctx))
}

// notGiven notes why something could not be given, if that is so.
func (s *Share) notGiven(ctx context.Context, name string, err error) {
	switch {
	case err == nil || context.Cause(ctx) != nil:
	case answered(err): // whatever it says now, it says of others as well
		s.giveUp(err, giving)
	case unusable(err):
		s.giveUp(err, asking, giving)
	default:
		s.Log.Warn("cannot give something to others", "what", name, "cause", err)
	}
}

// put puts an entry into the repository. The tag comes last, and with it the whole.
func (s *Share) put(ctx context.Context, address string, meta layer.Meta, dir string) error {
	a, err := newArchive(ctx, dir)
	if err != nil {
		return err
	}
	defer a.Close()
	if meta.ID != "" && meta.ID != a.plain {
		return fmt.Errorf("it has changed: its content has the SHA-256 %s, not %s", a.plain, meta.ID)
	}
	by, _ := os.Hostname() // which is only for people
	text, err := json.Marshal(description{Entry: meta, Archive: a.plain, Size: a.plainSize, By: by})
	if err != nil {
		return err
	}
	envelope, err := s.Signer.Sign(ctx, descriptionType, text)
	if err != nil {
		return err
	}
	image, err := newImage(envelopeType, envelope, a)
	if err != nil {
		return err
	}
	if err := s.pusher.Push(ctx, s.repo.Tag(address), image); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given++
	return nil
}

// errLate is the cause where the end of a run has waited long enough.
var errLate = errors.New("it took too long")

// Close waits for what is being given, but not for ever, and returns how many entries were taken
// and given.
func (s *Share) Close() (taken, given int) {
	s.finish(closing)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken, s.given
}

// finish waits for what is being given as long as that may take.
func (s *Share) finish(limit time.Duration) {
	cut := time.AfterFunc(limit, func() {
		s.mu.Lock()
		left := s.gifts.left
		s.mu.Unlock()
		s.Log.Warn("not all that was built here is given to the shared store: it takes too long", "store", s.repo.String(), "left", left, "waited", limit)
		s.gifts.end(errLate)
	})
	s.gifts.under.Wait()
	cut.Stop()
}
