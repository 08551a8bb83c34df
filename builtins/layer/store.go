// Package layer keeps what build steps made: each result is an entry of a store,
// found again by a key made of everything it depends on. A root file system is a
// chain of such entries. The package decides what is reused, built, waited for and
// thrown away; what a step does is its caller's business.
//
// A store may be used by any number of processes at once. On disk it is
//
//	entries/<key>/       one result: meta.json and data/, the layer or the files
//	staging/<random>/    results in the making, and old ones on their way out
//	locks/<key>          held by the one builder of a key
//	partial/             downloads that were cut
//	logs/<run>/          what steps have printed
//	history/<recipe>     what the steps of a recipe depended on when it last ran
//	mnt/                 empty; where children mount, each in its own namespace
//
// An entry that is in use is held by a shared lock on its directory, one in the
// making by an exclusive lock: so whatever a killed process leaves is known by its
// missing lock and removed by the next.
package layer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/sandbox"
)

// DefaultMaxSize is the size above which a store drops what was used least recently.
const DefaultMaxSize = 20 << 30

// Options say how a run uses a store. The zero value is the usual way.
type Options struct {
	MaxSize   int64        // bytes; 0: DefaultMaxSize, negative: keep nothing
	NoOverlay bool         // work on plain copies, without reuse
	NoCache   bool         // build every step anew
	Refresh   bool         // build every step anew that reads the network
	Clock     host.Clock   // nil: the system's
	Log       *slog.Logger // nil: none
}

// A Store is an open store.
type Store struct {
	dir     string
	options Options
	plain   bool            // overlayfs is not used
	built   map[string]bool // keys built by this run
	held    []*Entry        // entries used by this run
	run     *os.File        // staging directory of this run, for plain trees; nil until needed
}

var subdirectories = []string{"entries", "staging", "locks", "partial", "logs", "history", "mnt"}

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
		options.Clock = time.Now
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	for _, sub := range subdirectories {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("cannot make the cache: %w", err)
		}
	}
	s := &Store{dir: dir, options: options, plain: options.NoOverlay, built: make(map[string]bool)}
	if err := errors.Join(s.sweep(), s.sweepOld()); err != nil {
		return nil, fmt.Errorf("cannot clean the cache %s: %w", dir, err)
	}
	return s, nil
}

// Close lets go of all that the run used, removes what it does not leave behind and,
// if it has built something, shrinks the store to its size.
func (s *Store) Close() error {
	var errs []error
	defer func() { s.held, s.run, s.built = nil, nil, make(map[string]bool) }()
	for _, e := range s.held {
		errs = append(errs, e.dir.Close())
	}
	if s.run != nil {
		errs = append(errs, os.RemoveAll(s.run.Name()), s.run.Close())
	}
	if len(s.built) > 0 {
		_, err := s.Collect(s.options.MaxSize)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// Point is the directory that children mount on.
func (s *Store) Point() string { return s.path("mnt") }

// Dir is the store's directory.
func (s *Store) Dir() string { return s.dir }

// CheckOverlay finds out whether overlayfs can serve here and falls back to plain
// copies if not. It must be called before the first tree is made.
func (s *Store) CheckOverlay(ctx context.Context) error {
	if s.plain {
		return nil
	}
	dir, err := s.stage()
	if err != nil {
		return err
	}
	defer dir.Close()
	defer os.RemoveAll(dir.Name())
	sub := func(name string) string { return filepath.Join(dir.Name(), name) }
	if err := errors.Join(os.Mkdir(sub("lower"), 0o755), os.Mkdir(sub("upper"), 0o755), os.Mkdir(sub("work"), 0o755)); err != nil {
		return err
	}
	rootfs := sandbox.Rootfs{Lower: []string{sub("lower")}, Upper: sub("upper"), Work: sub("work"), Point: s.Point()}
	_, err = sandbox.Run(ctx, sandbox.Spec{Rootfs: rootfs}, discard{})
	if errors.Is(err, sandbox.ErrOverlay) {
		s.options.Log.Warn("overlayfs cannot be used in the cache: working on plain copies, nothing will be reused",
			"cache", s.dir, "cause", err)
		s.plain = true
		return nil
	}
	return err
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// stage makes a directory for something in the making and locks it.
func (s *Store) stage() (*os.File, error) {
	guard, err := s.guard(unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	defer guard.Close()
	name, err := os.MkdirTemp(s.path("staging"), "")
	if err != nil {
		return nil, err
	}
	dir, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return dir, unix.Flock(int(dir.Fd()), unix.LOCK_EX)
}

// guard keeps those who make, publish or use directories (shared) apart from those
// who remove what nobody seems to use (exclusive), for the moments in between locks.
func (s *Store) guard(how int) (*os.File, error) {
	f, err := os.Open(s.path("staging"))
	if err != nil {
		return nil, err
	}
	for {
		if err = unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// sweep removes staging directories that no process holds.
func (s *Store) sweep() error {
	guard, err := s.guard(unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer guard.Close()
	names, err := guard.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := removeUnlocked(s.path("staging", name)); err != nil && !errors.Is(err, errInUse) {
			return err
		}
	}
	return nil
}

var errInUse = errors.New("in use")

// removeUnlocked removes a directory unless a process holds a lock on it.
func removeUnlocked(name string) error {
	dir, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return errInUse
	}
	return os.RemoveAll(name)
}

// lockKey makes this process the one builder of a key. It waits for another one
// until ctx ends.
func (s *Store) lockKey(ctx context.Context, key string) (*os.File, error) {
	name := s.path("locks", key)
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		f, err := os.OpenFile(name, os.O_RDONLY|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && sameFile(f, name) {
			return f, nil
		}
		f.Close()
		if err != nil && err != unix.EWOULDBLOCK && err != unix.EINTR {
			return nil, err
		}
		if wait == 160*time.Millisecond {
			s.options.Log.Info("waiting for another build of the same step")
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}

// unlockKey lets go of a key; the lock file goes first, so that none piles up.
func (s *Store) unlockKey(f *os.File) {
	os.Remove(f.Name())
	f.Close()
}

// sameFile tells whether name still is the open file f.
func sameFile(f *os.File, name string) bool {
	a, aerr := f.Stat()
	b, berr := os.Lstat(name)
	return aerr == nil && berr == nil && os.SameFile(a, b)
}

// full says so if the file system of the store has next to no room left: what failed
// may well have failed for that.
func (s *Store) full() error {
	var st unix.Statfs_t
	if err := unix.Statfs(s.dir, &st); err != nil {
		return nil
	}
	const little = 16 << 20
	if free := int64(st.Bavail) * st.Bsize; free > little && (st.Files == 0 || st.Ffree > 100) {
		return nil
	}
	return fmt.Errorf("the file system of the cache %s is full; make room, for example with 'imagebuilder cache prune'",
		strings.TrimSuffix(s.dir, "/"))
}

// Partial is the directory for files in the making that outlive a run, Logs that for
// what steps have printed. What is not touched there for a week is removed.
func (s *Store) Partial() string { return s.path("partial") }

// Logs returns a new name in the directory for logs.
func (s *Store) Logs() string {
	return s.path("logs", fmt.Sprintf("%s-%d", time.Now().Format("20060102-150405"), os.Getpid()))
}

// sweepOld removes what nobody came back for.
func (s *Store) sweepOld() error {
	var errs []error
	for _, sub := range []string{"partial", "logs"} {
		files, err := os.ReadDir(s.path(sub))
		errs = append(errs, err)
		for _, f := range files {
			if info, err := f.Info(); err == nil && time.Since(info.ModTime()) > 7*24*time.Hour {
				errs = append(errs, os.RemoveAll(s.path(sub, f.Name())))
			}
		}
	}
	return errors.Join(errs...)
}
