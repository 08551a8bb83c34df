package host

import (
	"fmt"
	"strconv"
	"time"
)

// A Clock tells the time of a build. It is one injected value, so that nothing
// else in the tool reads the time and a build can be repeated to the second.
type Clock func() time.Time

// NewClock returns the system's clock, in UTC, or, where sourceDateEpoch (the
// value of SOURCE_DATE_EPOCH, seconds since 1970) is not empty, one that stands
// still at that time. See https://reproducible-builds.org/specs/source-date-epoch.
func NewClock(sourceDateEpoch string) (Clock, error) {
	if sourceDateEpoch == "" {
		return func() time.Time { return time.Now().UTC() }, nil
	}
	seconds, err := strconv.ParseInt(sourceDateEpoch, 10, 64)
	if err != nil || seconds < 0 {
		return nil, fmt.Errorf("SOURCE_DATE_EPOCH is not a number of seconds: %q", sourceDateEpoch)
	}
	return func() time.Time { return time.Unix(seconds, 0).UTC() }, nil
}
