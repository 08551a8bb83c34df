package layer

import (
	"fmt"
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

// full says so if the file system of the store has no more room left than that.
func (s *Store) full(than room) error {
	var st unix.Statfs_t
	if err := unix.Statfs(s.dir, &st); err != nil {
		return nil
	}
	if free := int64(st.Bavail) * st.Bsize; free > than.bytes && (st.Files == 0 || int64(st.Ffree) > than.inodes) {
		return nil
	}
	return fmt.Errorf("the file system of the cache %s is full; make room, for example with 'imagebuilder cache prune'",
		strings.TrimSuffix(s.dir, "/"))
}

// watchRoom watches the room that is left, also if it comes back before the work is done,
// until the function that it returns is called, which tells what it has seen.
func (s *Store) watchRoom() (seen func() error) {
	stop, result := make(chan struct{}), make(chan error)
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		var full error
		for {
			select {
			case <-stop:
				result <- full
				return
			case <-tick.C:
				if full == nil {
					full = s.full(none)
				}
			}
		}
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
