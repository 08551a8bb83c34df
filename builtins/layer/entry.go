package layer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
)

// One result of the store: how it is made and published. Everything that keeps concurrent
// builds apart is here, in find.go and in store.go.

// An Origin is what an entry is made by: a step, as far as its result depends on it. The
// key is made of the key of its base, the name and the inputs: where one of these holds a
// path of this machine, or what is true only here, such as the fingerprint of a directory,
// the entry is found on this machine alone.
type Origin struct {
	Name    string  // builtin
	Inputs  []Input // in a fixed order
	Network bool    // it reads the network, so that Options.Refresh concerns it
	Summary string  // for people

	// MaxAge is how long after it was made a result is good for, by the clock of builds;
	// 0: for ever.
	MaxAge time.Duration

	// Intact finds out whether a result found in the store still is what was put there;
	// nil: it is if it is there at all.
	Intact func(data string) error

	// Check finds out whether a result just made may be kept, while it is put into the
	// store; nil: it may.
	Check func(context.Context) error

	layer bool // its result is a layer, known by its content
}

// An Input is one thing that a step's result depends on.
type Input struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// format is part of every key: it changes when the same inputs give another result.
const format = "imagebuilder layer 2"

func (st Origin) key(base string) string {
	h := sha256.New()
	json.NewEncoder(h).Encode([]any{format, base, st.Name, st.Inputs})
	return hex.EncodeToString(h.Sum(nil))
}

func (st Origin) check(ctx context.Context) error {
	if st.Check == nil {
		return nil
	}
	return st.Check(ctx)
}

// Meta describes an entry.
type Meta struct {
	Key     string    `json:"key"`
	ID      string    `json:"id,omitempty"` // of a layer: the SHA-256 of its archive (see tree.WriteArchive)
	Base    string    `json:"base,omitempty"`
	BaseID  string    `json:"base_id,omitempty"`
	Step    string    `json:"step"`
	Summary string    `json:"summary,omitempty"`
	Inputs  []Input   `json:"inputs"`
	Size    int64     `json:"size"`              // bytes on disk
	Shape   *Shape    `json:"shape,omitempty"`   // of a layer
	Network bool      `json:"network,omitempty"` // the step reads the network
	Took    float64   `json:"took,omitempty"`    // seconds
	Created time.Time `json:"created"`
	Used    time.Time `json:"-"`

	leftover string // where it is below the store, if it is no entry
}

// An Entry is a result in the store. It is held, so that it neither goes nor changes,
// until the store is closed.
type Entry struct {
	Meta
	path string   // of its own: whatever takes its key later has another
	dir  *os.File // open, and locked
}

// Data is the directory with the result.
func (e *Entry) Data() string { return filepath.Join(e.path, "data") }

// An Outcome says what became of a step.
type Outcome struct {
	Key string
	Hit bool
	Why string // why it was not found, if it was not

	Made time.Time // when its result was made, by the clock of builds; zero: just now, and for nobody else
}

// A Base is what a step is applied to: the key and the identity of a layer.
type Base struct{ Key, ID string }

// Get returns the entry of a step and makes it with build if the store has none.
// Only one process builds a key; others wait for it. build fills the directory it is
// given; it may use the directory beside it named "work".
func (s *Store) Get(ctx context.Context, base Base, step Origin, build func(dir string) error) (*Entry, Outcome, error) {
	e, out, err := s.get(ctx, base, step, build)
	if err == nil {
		out.Made = e.Created
		s.keep(e)
	}
	return e, out, err
}

// keep holds an entry until the store is closed.
func (s *Store) keep(e *Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = append(s.held, e)
}

// anew tells whether a key is to be built whatever the store has.
func (s *Store) anew(key string, step Origin) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return (s.options.NoCache || s.options.Refresh && step.Network) && !s.built[key]
}

func (s *Store) get(ctx context.Context, base Base, step Origin, build func(dir string) error) (*Entry, Outcome, error) {
	out := Outcome{Key: step.key(base.Key)}
	if !s.anew(out.Key, step) {
		e, err := s.find(out.Key, base.ID, step)
		if out.Hit = err == nil; out.Hit {
			s.used(e)
			return e, out, nil
		}
	}
	lock, err := s.lockKey(ctx, out.Key)
	if err != nil {
		return nil, out, err
	}
	defer s.unlockKey(lock)
	force := s.anew(out.Key, step) // another goroutine may have built it meanwhile
	if force {
		out.Why = "asked for"
	} else {
		e, err := s.find(out.Key, base.ID, step)
		if out.Hit = err == nil; out.Hit {
			s.used(e)
			return e, out, nil
		}
		var miss errMiss
		if !errors.As(err, &miss) {
			return nil, out, err
		}
		out.Why = string(miss)
		if why, ok := strings.CutPrefix(out.Why, damaged); ok {
			s.options.Log.Warn("the cache is damaged: the step is done again", "step", step.Name, "cause", why)
		}
		if e := s.pull(ctx, base, step, out.Key); e != nil {
			out.Hit = true
			return e, out, nil
		}
	}
	e, err := s.make(ctx, base, step, out.Key, build, nil)
	if err == nil {
		s.push(ctx, e)
	}
	return e, out, err
}

// Revise returns the entry of a step after revise has looked at the one there is, nil
// if none. revise either says that it is still right or fills the directory it is
// given with what takes its place.
func (s *Store) Revise(ctx context.Context, step Origin, revise func(old *Entry, dir string) (keep bool, err error)) (*Entry, error) {
	key := step.key("")
	lock, err := s.lockKey(ctx, key)
	if err != nil {
		return nil, err
	}
	defer s.unlockKey(lock)
	old, err := s.find(key, "", step)
	var miss errMiss
	if err != nil && !errors.As(err, &miss) {
		return nil, err
	}
	if old != nil {
		s.keep(old)
	}
	e, err := s.make(ctx, Base{}, step, key, func(dir string) error {
		keep, err := revise(old, dir)
		if err == nil && keep {
			return errKept
		}
		return err
	}, nil)
	switch {
	case errors.Is(err, errKept):
		return old, nil
	case err == nil:
		s.keep(e)
	}
	return e, err
}

var errKept = errors.New("internal error: nothing is kept")

// make builds an entry in a staging directory and moves it to its place. If it is said what
// it is, it was made elsewhere at that time, and must have that identity.
func (s *Store) make(ctx context.Context, base Base, step Origin, key string, build func(dir string) error, said *Meta) (*Entry, error) {
	dir, err := s.stage()
	if err != nil {
		return nil, err
	}
	e := &Entry{path: dir.Name(), dir: dir}
	e.Meta = Meta{Key: key, Base: base.Key, BaseID: base.ID, Step: step.Name, Summary: step.Summary,
		Inputs: shortened(step.Inputs), Network: step.Network, Created: s.options.Clock()}
	id := ""
	if said != nil {
		id, e.Created = said.ID, said.Created
	}
	err = host.Mkdir(e.Data())
	if err == nil {
		room, start := s.watchRoom(), time.Now()
		err = build(e.Data())
		e.Took = time.Since(start).Seconds()
		// Programs that ignore errors would leave half of a result as a whole one.
		if full := room(); err == nil {
			err = full
		}
	}
	if err == nil {
		err = s.commit(ctx, e, step, id)
	}
	if err != nil {
		return nil, errors.Join(err, s.full(little), s.discard(dir))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.built[key] = true
	s.whole[path.Join("results", filepath.Base(e.path))] = true
	return e, nil
}

// commit seals a finished entry, makes it durable and then visible.
func (s *Store) commit(ctx context.Context, e *Entry, step Origin, id string) error {
	staged := path.Join("staging", filepath.Base(e.path))
	checked := make(chan error, 1)
	go func() { checked <- step.check(ctx) }()
	seal, err := sealing.Run(context.Background(), nil, sealed{step.layer, s.options.Epoch}, e.dir)
	if err != nil {
		err = fmt.Errorf("cannot seal the result: %w", err)
	}
	if wrong := <-checked; wrong != nil {
		err = wrong // whatever came of it is of no use
	}
	if err != nil {
		return err
	}
	if step.layer {
		e.Shape = &seal.Shape
	}
	if e.Size, e.ID = seal.Size, seal.ID; id != "" && id != e.ID {
		return fmt.Errorf("it is another layer than the one that was asked for: its content has the SHA-256 %s, not %s", e.ID, id)
	}
	text, err := json.Marshal(e.Meta)
	if err != nil {
		return err
	}
	err = s.root.WriteFile(path.Join(staged, "meta.json"), 0o600, dirfd.Bytes(text))
	if err != nil {
		return err
	}
	if err := unix.Syncfs(int(e.dir.Fd())); err != nil {
		return fmt.Errorf("cannot sync the result: %w", err)
	}
	return s.publish(e, staged)
}

// publish puts a durable entry in its place and gives it its key. What had that before
// is removed, unless a process uses it.
func (s *Store) publish(e *Entry, staged string) error {
	guard, err := s.guard(unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer guard.Close()
	place, entry := path.Join("results", path.Base(staged)), path.Join("entries", e.Key)
	before, err := s.place(e.Key)
	if err != nil { // there is none, or something that is no link
		if err := s.erase(entry); err != nil {
			return err
		}
	}
	if err := s.root.RenameNew(staged, place); err != nil {
		return err
	}
	e.path = s.path(place)
	if err := s.root.Sync("results"); err != nil {
		return err
	}
	if err := s.root.Remove(dirfd.TempName(entry)); err != nil {
		return err
	}
	if err := s.root.Symlink(path.Join("..", place), dirfd.TempName(entry), false); err != nil {
		return err
	}
	if err := s.root.Rename(dirfd.TempName(entry), entry); err != nil {
		return err
	}
	if err := dirfd.Flock(e.dir, unix.LOCK_SH); err != nil {
		return err
	}
	if err := s.root.Sync("entries"); err != nil || before == "" {
		return err
	}
	if err := s.eraseUnused([]string{before}); err != nil {
		s.options.Log.Warn("cannot remove what was built anew", "cause", err)
	}
	return nil
}

// shortened keeps descriptions small: what is long is kept as its digest.
func shortened(inputs []Input) []Input {
	short := make([]Input, len(inputs))
	for i, in := range inputs {
		if len(in.Value) > 200 {
			in.Value = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(in.Value)))
		}
		short[i] = in
	}
	return short
}
