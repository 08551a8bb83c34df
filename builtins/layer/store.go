// Package layer keeps what build steps made: each result is found again by a key made of
// everything it depends on. A root file system is a chain of such results. The package
// decides what is reused, built, waited for and thrown away; what a step does, and what a
// result is good for, is its callers' business.
//
// A store may be used by any number of processes at once, and by the goroutines of each.
// On disk it is
//
//	entries/<key>        a link to the result of a key
//	results/<random>/    meta.json and data/, the layer or the files
//	staging/<random>/    results in the making
//	locks/<key>          held by the one builder of a key, or writer of a file
//	partial/             downloads that were cut
//	packages/            packages that programs have fetched (see package pkgproxy)
//	bodies/              what servers have sent to locked builds (see package lock)
//	logs/<run>/          what steps have printed
//	history/<recipe>     what the steps of a recipe depended on when it last ran, and its answers
//	mnt/                 empty; where children mount, each in its own namespace
//	idmap                the map of ids that its files are of
//
// A result never changes and never moves: whoever uses one holds it by a shared lock on
// its directory, and what is built anew takes its key, but not its place. What is in the
// making has an exclusive lock. So whatever a killed process leaves is known by its
// missing lock and removed by the next.
package layer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/sandbox"
)

// DefaultMaxSize is the size above which a store drops what was used least recently.
const DefaultMaxSize = 20 << 30

// Options say how a run uses a store. The zero value is the usual way.
type Options struct {
	MaxSize   int64        // bytes; 0: DefaultMaxSize, negative: keep nothing
	NoOverlay bool         // work on plain copies, without reuse
	Copies    bool         // layers are what they are where a directory cannot be renamed: see [sandbox.Stack]
	NoCache   bool         // build every step anew
	Refresh   bool         // build every step anew that reads the network
	Remote    Remote       // a store elsewhere; nil: there is none
	Epoch     host.Epoch   // no time of a layer is later, if there is one; inputs of steps have it
	Clock     host.Clock   // nil: the system's
	Log       *slog.Logger // nil: none
}

// A Store is an open store. Its methods may be called by several goroutines.
type Store struct {
	dir       string
	root      *dirfd.Dir
	use       *os.File // a directory, locked by all who have the store open
	logs      string   // of this run, below the store
	options   Options
	noOverlay bool // overlayfs is not used

	mu    sync.Mutex
	built map[string]bool // keys built by this run
	whole map[string]bool // places of layers found to be as they were stored
	held  []*Entry        // entries used by this run
	run   *os.File        // staging directory of this run, for plain directories; nil until needed
}

var subdirectories = []string{"entries", "results", "staging", "locks", "partial", "logs", "history", "packages", "bodies", "mnt"}

// Open opens the store in dir, which it makes if needed, and removes what killed
// processes have left there.
func Open(dir string, options Options) (*Store, error) {
	if options.MaxSize == 0 {
		options.MaxSize = DefaultMaxSize
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Clock == nil {
		options.Clock = host.SystemClock
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if dir, err = makePlace(dir); err != nil {
		return nil, err
	}
	root, err := dirfd.Open(dir, dirfd.Refuse)
	if err != nil {
		return nil, fmt.Errorf("cannot open the cache: %w", err)
	}
	use, err := root.OpenFile("logs", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err == nil {
		err = dirfd.Flock(use, unix.LOCK_SH)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot open the cache: %w", err), root.Close())
	}
	s := &Store{dir: dir, root: root, use: use, logs: logsName(time.Now(), os.Getpid()), options: options, noOverlay: options.NoOverlay, built: make(map[string]bool), whole: make(map[string]bool)}
	if err := errors.Join(s.sweepStaging(), s.sweepOld()); err != nil {
		// Whatever it is, it is in nobody's way but that of the disk's size.
		options.Log.Warn("cannot clean the cache", "cache", dir, "cause", err)
	}
	return s, nil
}

// Close lets go of all that the run used, removes what it does not leave behind and,
// if it has built something, shrinks the store to its size.
func (s *Store) Close() error {
	s.mu.Lock()
	held, run, built := s.held, s.run, len(s.built) > 0
	s.held, s.run, s.built = nil, nil, make(map[string]bool)
	s.mu.Unlock()
	var errs []error
	for _, e := range held {
		errs = append(errs, e.dir.Close())
	}
	if run != nil {
		errs = append(errs, s.erase(path.Join("staging", filepath.Base(run.Name()))), run.Close())
	}
	if built {
		_, err := s.Collect(s.options.MaxSize)
		errs = append(errs, err)
	}
	return errors.Join(append(errs, s.use.Close(), s.root.Close())...)
}

// Refreshing tells whether this run is to take nothing for granted that came from the
// network.
func (s *Store) Refreshing() bool { return s.options.NoCache || s.options.Refresh }

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// Point is the directory that children mount on.
func (s *Store) Point() string { return s.path("mnt") }

// Dir is the store's directory.
func (s *Store) Dir() string { return s.dir }

// CheckOverlay finds out whether overlayfs can serve here and falls back to plain
// copies if not. It must be called before the first state is made.
func (s *Store) CheckOverlay(ctx context.Context) error {
	if s.noOverlay {
		return nil
	}
	err := s.tryStack(func(stack sandbox.Stack) error {
		_, err := nothing.Run(ctx, []sandbox.Stack{stack}, false)
		return err
	})
	if errors.Is(err, sandbox.ErrOverlay) {
		s.options.Log.Warn("overlayfs cannot be used in the cache: working on plain copies, nothing will be reused",
			"cache", s.dir, "cause", err)
		s.noOverlay = true
		return nil
	}
	return err
}

// TrySandbox finds out whether programs could run in a root file system, with all that they find
// there, by running none.
func (s *Store) TrySandbox(ctx context.Context) error {
	return s.tryStack(func(stack sandbox.Stack) error {
		return sandbox.Run(ctx, sandbox.Spec{Root: &stack, NoNet: true}, sandbox.Programs{}, io.Discard)
	})
}

// tryStack calls do with an empty root file system.
func (s *Store) tryStack(do func(sandbox.Stack) error) error {
	dir, err := s.stage()
	if err != nil {
		return err
	}
	defer s.discard(dir)
	sub := func(name string) string { return filepath.Join(dir.Name(), name) }
	if err := errors.Join(os.Mkdir(sub("lower"), 0o755), os.Mkdir(sub("upper"), 0o755), os.Mkdir(sub("work"), 0o755)); err != nil {
		return err
	}
	return do(sandbox.Stack{Lower: []string{sub("lower")}, Upper: sub("upper"), Work: sub("work"), Point: s.Point()})
}

// stage makes a directory for something in the making and locks it.
func (s *Store) stage() (*os.File, error) {
	guard, err := s.guard(unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer guard.Close()
	name := s.path("staging", rand.Text())
	if err := os.Mkdir(name, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return dir, dirfd.Flock(dir, unix.LOCK_EX)
}

// discard removes what was staged.
func (s *Store) discard(dir *os.File) error {
	return errors.Join(s.erase(path.Join("staging", filepath.Base(dir.Name()))), dir.Close())
}

// guard keeps those who make, publish or use directories (shared) apart from those
// who remove what nobody seems to use (exclusive), for the moments in between locks.
func (s *Store) guard(how int) (*os.File, error) { return guard(s.dir, how) }

// guard is that of the store in a directory, open or not.
func guard(store string, how int) (*os.File, error) {
	f, err := os.Open(filepath.Join(store, "staging"))
	if err != nil {
		return nil, err
	}
	if err := dirfd.Flock(f, how); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// sweepStaging removes staging directories that no process holds.
func (s *Store) sweepStaging() error {
	guard, err := s.guard(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer guard.Close()
	names, err := guard.Readdirnames(-1)
	if err != nil {
		return err
	}
	for i, name := range names {
		names[i] = path.Join("staging", name)
	}
	return s.eraseUnused(names)
}

// eraseUnused removes those directories that no process holds a lock on.
func (s *Store) eraseUnused(names []string) error {
	var unused []string
	for _, name := range names {
		dir, err := os.OpenFile(s.path(name), os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe has no other end
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		defer dir.Close() // it stays locked until it is gone
		if dirfd.Flock(dir, unix.LOCK_EX|unix.LOCK_NB) == nil {
			unused = append(unused, name)
		}
	}
	return s.erase(unused...)
}

// lockKey makes this process the one builder of a key. It waits for another one
// until ctx ends.
func (s *Store) lockKey(ctx context.Context, key string) (*os.File, error) {
	return s.lock(ctx, key, "waiting for another build of the same step")
}

// lock takes a lock that others of the store's user may have, and says that it waits for them.
func (s *Store) lock(ctx context.Context, name, waiting string) (*os.File, error) {
	name = s.path("locks", name)
	for {
		f, err := os.OpenFile(name, os.O_RDONLY|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = dirfd.Lock(ctx, f, func() { s.options.Log.Info(waiting) })
		if err == nil && sameFile(f, name) {
			return f, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
}

// unlockKey lets go of a key; the lock file goes first, so that none piles up.
func (s *Store) unlockKey(f *os.File) {
	os.Remove(f.Name())
	f.Close()
}

// Alone does something while no other process with this store does what has the same name. Their
// locks are where nobody else can take one, and so keep a run waiting.
func (s *Store) Alone(ctx context.Context, name, waiting string, do func() error) error {
	lock, err := s.lock(ctx, name, waiting)
	if err != nil {
		return err
	}
	defer s.unlockKey(lock)
	return do()
}

// edit changes a file of the store that others may be changing.
func (s *Store) edit(name string, do func() error) error {
	return s.Alone(context.Background(), name, "waiting for another run that ends", do)
}

// sameFile tells whether name still is the open file f.
func sameFile(f *os.File, name string) bool {
	a, aerr := f.Stat()
	b, berr := os.Lstat(name)
	return aerr == nil && berr == nil && os.SameFile(a, b)
}
