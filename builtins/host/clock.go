package host

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Clock tells the time of what is made. It is one injected value, so that a build can be
// repeated to the second. How old something of this machine is, and how long to wait, is
// no business of it.
type Clock func() time.Time

// SystemClock is the system's clock, in UTC.
func SystemClock() time.Time { return time.Now().UTC() }

// An Epoch is the moment that what is made is dated by, so that it can be made again: seconds
// since 1970 as digits; "": there is none, and the clock counts. Whoever starts a build knows
// it, from [CallerEpoch] or elsewhere; nothing else reads it from the environment.
type Epoch string

// epochVariable is how programs are told; see https://reproducible-builds.org/specs/source-date-epoch.
const epochVariable = "SOURCE_DATE_EPOCH"

// CallerEpoch is the epoch of the caller's environment: this is the one place that reads it.
func CallerEpoch() (Epoch, error) {
	e, err := ParseEpoch(os.Getenv(epochVariable))
	if err != nil {
		return "", fmt.Errorf("%s is %w", epochVariable, err)
	}
	return e, nil
}

// ParseEpoch reads an epoch; of "" there is none.
func ParseEpoch(text string) (Epoch, error) {
	if text == "" {
		return "", nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 {
		return "", fmt.Errorf("not a number of seconds: %q", text)
	}
	return Epoch(strconv.FormatInt(seconds, 10)), nil
}

// Seconds are those since 1970, 0 if there is no epoch.
func (e Epoch) Seconds() int64 {
	seconds, _ := strconv.ParseInt(string(e), 10, 64) // which was read before
	return seconds
}

// Clock is the system's clock or, for an epoch, one that stands still at that time.
func (e Epoch) Clock() Clock {
	if e == "" {
		return SystemClock
	}
	return func() time.Time { return time.Unix(e.Seconds(), 0).UTC() }
}

// In returns an environment that tells programs of the epoch, unless it does so itself.
func (e Epoch) In(environ []string) []string {
	said := func(v string) bool { return strings.HasPrefix(v, epochVariable+"=") }
	if e == "" || slices.ContainsFunc(environ, said) {
		return environ
	}
	return append(slices.Clone(environ), epochVariable+"="+string(e))
}
