package host

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// A Clock tells the time of what is made. It is one injected value, so that a build can be
// repeated to the second. How old something of this machine is, and how long to wait, is
// no business of it.
type Clock func() time.Time

// SystemClock is the system's clock, in UTC.
func SystemClock() time.Time { return time.Now().UTC() }

// Epoch is the value of SOURCE_DATE_EPOCH, seconds since 1970, "" if it is not set: this is
// the one place that reads it. See https://reproducible-builds.org/specs/source-date-epoch.
func Epoch() string { return os.Getenv("SOURCE_DATE_EPOCH") }

// NewClock returns the system's clock or, for an epoch, one that stands still at that time.
func NewClock(epoch string) (Clock, error) {
	if epoch == "" {
		return SystemClock, nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil || seconds < 0 {
		return nil, fmt.Errorf("SOURCE_DATE_EPOCH is not a number of seconds: %q", epoch)
	}
	return func() time.Time { return time.Unix(seconds, 0).UTC() }, nil
}
