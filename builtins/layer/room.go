package layer

import (
	"fmt"
	"math"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A full disk is told from other faults here: what fails may well have failed for that,
// and what does not fail may be wrong.

// A room is what is left of a file system, in bytes and in inodes.
type room struct{ bytes, inodes int64 }

// little may well be why something has failed; none is why something must have.
var (
	little = room{16 << 20, 100}
	none   = room{256 << 10, 1}
)

// room is what is left of the file system of the store.
func (s *Store) room() room {
	var st unix.Statfs_t
	left := room{math.MaxInt64, math.MaxInt64}
	if err := unix.Statfs(s.dir, &st); err != nil {
		return left
	}
	if st.Files != 0 {
		left.inodes = int64(st.Ffree)
	}
	left.bytes = int64(st.Bavail) * st.Bsize
	return left
}

// full says so if the file system of the store has no more room left than that.
func (s *Store) full(than room) error {
	if left := s.room(); left.bytes > than.bytes && left.inodes > than.inodes {
		return nil
	}
	return fmt.Errorf("the file system of the cache %s is full; make room, for example with 'imagebuilder cache prune'",
		strings.TrimSuffix(s.dir, "/"))
}

// lasts is about how long it takes to fill a room, by a fast program: no longer may pass
// until the next look, as whoever meets a full disk often makes room at once.
func (r room) lasts() time.Duration {
	const bytes, inodes = 2 << 20, 500 // in a millisecond
	return min(max(time.Duration(min(r.bytes/bytes, r.inodes/inodes)), 1), 100) * time.Millisecond
}

// watchRoom watches the room that is left, also if it comes back before the work is done,
// until the function that it returns is called, which tells what it has seen.
func (s *Store) watchRoom() (seen func() error) {
	stop, result := make(chan struct{}), make(chan error)
	go func() {
		var full error
		for full == nil {
			select {
			case <-stop:
				result <- nil
				return
			case <-time.After(s.room().lasts()):
				full = s.full(none)
			}
		}
		<-stop
		result <- full
	}()
	return func() error {
		close(stop)
		full := <-result
		if full == nil {
			full = s.full(none)
		}
		if full != nil {
			full = fmt.Errorf("the result cannot be trusted: %w", full)
		}
		return full
	}
}
