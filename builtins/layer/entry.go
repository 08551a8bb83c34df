package layer

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/host"
)

// A Step is what an entry is made by. The key is made of the key of its base, the name
// and the inputs, so nothing in those may hold a path or a name of the machine.
type Step struct {
	Name    string  // builtin
	Inputs  []Input // in a fixed order
	Network bool    // it reads the network, so that Options.Refresh concerns it
	Summary string  // for people

	// Intact finds out whether a result found in the store still is what was put there;
	// nil: it is if it is there at all.
	Intact func(data string) error
}

// An Input is one thing that a step's result depends on.
type Input struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// format is part of every key: it changes when the same inputs give another result.
const format = "imagebuilder layer 1"

func (st Step) key(base string) string {
	h := sha256.New()
	json.NewEncoder(h).Encode([]any{format, base, st.Name, st.Inputs})
	return hex.EncodeToString(h.Sum(nil))
}

// Meta describes an entry.
type Meta struct {
	Key     string    `json:"key"`
	ID      string    `json:"id"` // of this very result: building a step anew gives it another one
	Base    string    `json:"base,omitempty"`
	BaseID  string    `json:"base_id,omitempty"`
	Step    string    `json:"step"`
	Summary string    `json:"summary,omitempty"`
	Inputs  []Input   `json:"inputs"`
	Size    int64     `json:"size"` // bytes on disk
	Created time.Time `json:"created"`
	Used    time.Time `json:"-"`
}

// An Entry is a result in the store. It is held, so that it is not removed, until
// the store is closed.
type Entry struct {
	Meta
	path string
	dir  *os.File // open, and locked
}

// Data is the directory with the result.
func (e *Entry) Data() string { return filepath.Join(e.path, "data") }

// An Outcome says what became of a step.
type Outcome struct {
	Key string
	Hit bool
	Why string // why it was not found, if it was not
}

// errMiss is why an entry cannot be used.
type errMiss string

func (e errMiss) Error() string { return string(e) }

// find returns the entry of a key, held, or an errMiss.
func (s *Store) find(key, baseID string, step Step) (*Entry, error) {
	place := s.path("entries", key)
	dir, err := os.Open(place)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errMiss("")
	}
	if err != nil {
		return nil, err
	}
	e := &Entry{path: place, dir: dir}
	if err := e.hold(baseID, step); err != nil {
		dir.Close()
		return nil, err
	}
	return e, nil
}

func (e *Entry) hold(baseID string, step Step) error {
	if err := unix.Flock(int(e.dir.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil || !sameFile(e.dir, e.path) {
		return errMiss("it was just removed")
	}
	meta, err := readMeta(e.path)
	if err != nil {
		return errMiss("its description cannot be read")
	}
	if meta.BaseID != baseID {
		return errMiss("its base was built anew")
	}
	if err := e.intact(step); err != nil {
		return errMiss("it is damaged: " + err.Error())
	}
	e.Meta = meta
	now := time.Now() // not the build's clock: this orders uses on this machine
	return os.Chtimes(filepath.Join(e.path, "meta.json"), now, now)
}

func readMeta(dir string) (Meta, error) {
	var meta Meta
	name := filepath.Join(dir, "meta.json")
	data, err := os.ReadFile(name)
	if err != nil {
		return meta, err
	}
	if err := json.Unmarshal(data, &meta); err != nil {
		return meta, err
	}
	if meta.Key != filepath.Base(dir) {
		return meta, fmt.Errorf("%s is not of this entry", name)
	}
	st, err := os.Stat(name)
	if err == nil {
		meta.Used = st.ModTime()
	}
	return meta, err
}

// A Base is what a step is applied to: the key and the identity of a result.
type Base struct{ Key, ID string }

// Get returns the entry of a step and makes it with build if the store has none.
// Only one process builds a key; others wait for it. build fills the directory it is
// given; it may use the directory beside it named "work".
func (s *Store) Get(ctx context.Context, base Base, step Step, build func(dir string) error) (*Entry, Outcome, error) {
	e, out, err := s.get(ctx, base, step, build)
	if err == nil {
		s.held = append(s.held, e)
	}
	return e, out, err
}

func (s *Store) get(ctx context.Context, base Base, step Step, build func(dir string) error) (*Entry, Outcome, error) {
	out := Outcome{Key: step.key(base.Key)}
	force := (s.options.NoCache || s.options.Refresh && step.Network) && !s.built[out.Key]
	if !force {
		e, err := s.find(out.Key, base.ID, step)
		if out.Hit = err == nil; out.Hit {
			return e, out, nil
		}
	}
	lock, err := s.lockKey(ctx, out.Key)
	if err != nil {
		return nil, out, err
	}
	defer s.unlockKey(lock)
	if force {
		out.Why = "asked for"
	} else {
		e, err := s.find(out.Key, base.ID, step)
		if out.Hit = err == nil; out.Hit {
			return e, out, nil
		}
		var miss errMiss
		if !errors.As(err, &miss) {
			return nil, out, err
		}
		out.Why = string(miss)
	}
	e, err := s.make(base, step, out.Key, build)
	return e, out, err
}

// Revise returns the entry of a step after revise has looked at the one there is, nil
// if none. revise either says that it is still right or fills the directory it is
// given with what takes its place.
func (s *Store) Revise(ctx context.Context, step Step, revise func(old *Entry, dir string) (keep bool, err error)) (*Entry, error) {
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
		s.held = append(s.held, old)
	}
	e, err := s.make(Base{}, step, key, func(dir string) error {
		keep, err := revise(old, dir)
		if err == nil && keep {
			return errKept
		}
		return err
	})
	switch {
	case errors.Is(err, errKept):
		return old, nil
	case err == nil:
		s.held = append(s.held, e)
	}
	return e, err
}

var errKept = errors.New("internal error: nothing is kept")

// make builds an entry in a staging directory and moves it to its place.
func (s *Store) make(base Base, step Step, key string, build func(dir string) error) (*Entry, error) {
	dir, err := s.stage()
	if err != nil {
		return nil, err
	}
	e := &Entry{path: dir.Name(), dir: dir}
	e.Meta = Meta{Key: key, ID: rand.Text(), Base: base.Key, BaseID: base.ID, Step: step.Name, Summary: step.Summary,
		Inputs: shortened(step.Inputs), Created: s.options.Clock()}
	err = host.Mkdir(e.Data())
	if err == nil {
		err = build(e.Data())
	}
	if err == nil {
		err = s.commit(e)
	}
	if err != nil {
		return nil, errors.Join(err, s.full(), os.RemoveAll(dir.Name()), dir.Close())
	}
	s.built[key] = true
	return e, nil
}

// commit makes a finished entry durable, then visible, in one rename.
func (s *Store) commit(e *Entry) error {
	if err := os.RemoveAll(filepath.Join(e.path, "work")); err != nil {
		return err
	}
	var err error
	if e.Size, err = diskUsage(e.Data()); err != nil {
		return err
	}
	data, err := json.Marshal(e.Meta)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(e.path, "meta.json"), data, 0o600); err != nil {
		return err
	}
	if err := unix.Syncfs(int(e.dir.Fd())); err != nil {
		return fmt.Errorf("cannot sync the result: %w", err)
	}
	return s.publish(e)
}

// publish puts a durable entry in its place and lets other processes use it.
func (s *Store) publish(e *Entry) error {
	guard, err := s.guard(unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer guard.Close()
	place := s.path("entries", e.Key)
	if err := s.retire(place); err != nil {
		return err
	}
	if err := os.Rename(e.path, place); err != nil {
		return err
	}
	e.path = place
	if err := unix.Flock(int(e.dir.Fd()), unix.LOCK_SH); err != nil {
		return err
	}
	return syncDir(s.path("entries"))
}

// retire moves an entry that is about to be replaced out of the way. Processes that
// use it keep it; it is removed when none does.
func (s *Store) retire(place string) error {
	dir, err := os.MkdirTemp(s.path("staging"), "old-")
	if err != nil {
		return err
	}
	err = unix.Renameat2(unix.AT_FDCWD, place, unix.AT_FDCWD, dir, unix.RENAME_EXCHANGE)
	if errors.Is(err, fs.ErrNotExist) {
		return os.Remove(dir)
	}
	if err != nil {
		return err
	}
	if err := os.Remove(place); err != nil { // the empty directory that took its place
		return err
	}
	if err := removeUnlocked(dir); err != nil && !errors.Is(err, errInUse) {
		return err
	}
	return nil
}

func syncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
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

// diskUsage adds up the blocks of a tree, those of a hard-linked file once.
func diskUsage(dir string) (int64, error) {
	var total int64
	type inode struct{ dev, ino uint64 }
	seen := make(map[inode]bool)
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if key := (inode{uint64(st.Dev), st.Ino}); st.Nlink == 1 || d.IsDir() || !seen[key] {
			seen[key] = true
			total += st.Blocks * 512
		}
		return nil
	})
	return total, err
}
