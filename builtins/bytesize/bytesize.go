// Package bytesize is how the tool writes and reads numbers of bytes. It reads 500MB and
// 20GiB; it writes "1.5 GiB" wherever commands print sizes: one unit, so that what one says can be
// compared with what another does. Web pages have decimal units, as those of the older tool.
package bytesize

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A Size is a number of bytes. It can be the value of a flag.
type Size int64

// units are the suffixes that Set takes; the longer ones come first.
var units = []struct {
	suffix string
	factor int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"PiB", 1 << 50}, {"EiB", 1 << 60},
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"PB", 1e15}, {"EB", 1e18},
	{" bytes", 1}, {"B", 1}, {"", 1},
}

// Set reads a size such as 500MB or 20GiB.
func (s *Size) Set(text string) error {
	for _, u := range units {
		digits, ok := strings.CutSuffix(text, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 63)
		if err != nil || int64(n) > math.MaxInt64/u.factor {
			break
		}
		*s = Size(int64(n) * u.factor)
		return nil
	}
	return fmt.Errorf("not a size such as 500MB or 20GiB: %q", text)
}

// Type says in the help of a flag what its value is.
func (s *Size) Type() string { return "size" }

// String prints the size rounded, in units of 1024: "600 B", "1.5 GiB".
func (s Size) String() string {
	if s < 1024 {
		return fmt.Sprintf("%d B", int64(s))
	}
	return s.in(1024, 1023.95, "%.1f %s", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
}

// Decimal prints the size rounded, in units of 1000: "600 B", "6.66 kB".
func (s Size) Decimal() string {
	if s < 1000 {
		return fmt.Sprintf("%d B", int64(s))
	}
	return s.in(1000, 999.995, "%.2f %s", "kB", "MB", "GB", "TB", "PB")
}

// in prints the size in the first unit in which it is less than limit, from which on it would be
// rounded to one of the next, or in the last.
func (s Size) in(factor, limit float64, format string, units ...string) string {
	size, unit := float64(s), ""
	for _, unit = range units {
		if size /= factor; size < limit {
			break
		}
	}
	return fmt.Sprintf(format, size, unit)
}
