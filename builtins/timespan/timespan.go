// Package timespan is how people write lengths of time to the tool: "30d", "1w 2d", and as
// Go does, "1h30m" or "0". What a length of time is for is no concern of it.
package timespan

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// A Span is a length of time, none of which is negative. It can be the value of a flag.
type Span time.Duration

var (
	whole = regexp.MustCompile(`^\s*(\d+[smhdw]\s*)+$`)
	part  = regexp.MustCompile(`(\d+)([smhdw])`)
)

// Duration returns the length as package time has it.
func (s Span) Duration() time.Duration { return time.Duration(s) }

// unit returns the length of a letter.
func unit(letter string) time.Duration {
	switch letter {
	case "s":
		return time.Second
	case "m":
		return time.Minute
	case "h":
		return time.Hour
	case "d":
		return 24 * time.Hour
	}
	return 7 * 24 * time.Hour
}

// Parse reads parts such as "30d" or "1w 2d 3h4m5s", in seconds, minutes, hours, days and
// weeks, which are added up.
func Parse(text string) (time.Duration, error) {
	if !whole.MatchString(text) {
		return 0, fmt.Errorf("not a length of time such as 30d or 1h30m (units s, m, h, d, w): %q", text)
	}
	var total time.Duration
	for _, match := range part.FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseInt(match[1], 10, 64)
		if err != nil || time.Duration(n) > (math.MaxInt64-total)/unit(match[2]) {
			return 0, fmt.Errorf("too long: %q", text)
		}
		total += time.Duration(n) * unit(match[2])
	}
	return total, nil
}

// Set reads what Parse does, or what Go prints.
func (s *Span) Set(text string) error {
	d, err := Parse(text)
	if err != nil && !whole.MatchString(text) {
		if also, gerr := time.ParseDuration(text); gerr == nil && also >= 0 {
			d, err = also, nil
		}
	}
	if err == nil {
		*s = Span(d)
	}
	return err
}

// Type says in the help of a flag what its value is.
func (s *Span) Type() string { return "duration" }

// String prints the length as Set reads it: "8d", "2h", "1h30m".
func (s Span) String() string {
	d := time.Duration(s)
	if days := d / (24 * time.Hour); days > 0 && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", days)
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = strings.TrimSuffix(text, zero[1:])
		}
	}
	return text
}
