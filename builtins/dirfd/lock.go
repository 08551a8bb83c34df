package dirfd

import (
	"context"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Flock is flock(2) of an open file or directory, whatever signals interrupt it.
func Flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}

// Lock waits until nobody else has locked an open file or directory, which is locked then until it
// is closed. If that takes so long that people would wonder, waiting is called.
func Lock(ctx context.Context, f *os.File, waiting func()) error {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 200*time.Millisecond) {
		if err := Flock(f, unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
			return err
		}
		if wait == 160*time.Millisecond {
			waiting()
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
	}
}
