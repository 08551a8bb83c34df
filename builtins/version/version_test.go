package version

import (
	"cmp"
	"slices"
	"testing"
)

// Each list is in its order, oldest first.
var ordered = [][]string{
	{"1.2", "1.9", "1.10", "1.10.1", "2"},
	{"Build1.2", "Build1.10"},
	{"3.20.0_alpha20240329", "3.20.0_rc1", "3.20.0_rc2", "3.20.0", "3.20.1", "3.20.10"},
	{"alpine-minirootfs-3.20.0_rc1-x86_64.tar.gz", "alpine-minirootfs-3.20.0-x86_64.tar.gz", "alpine-minirootfs-3.20.2-x86_64.tar.gz", "alpine-minirootfs-3.20.10-x86_64.tar.gz"},
	{"23.05.0-rc1", "23.05.0-rc4", "23.05.0", "23.05.5", "24.10.0-rc1", "24.10.0"},
	{"openwrt-23.05.0-rc1-x86.tar", "openwrt-23.05.0-x86.tar", "openwrt-23.05.3-x86.tar"},
	{"1.0~git", "1.0-dev", "1.0-alpha", "1.0-beta", "1.0-beta2", "1.0-beta10", "1.0-rc1", "1.0", "1.0-1", "1.0a", "1.0.1"},
	{"1.0rc1", "1.0RC2", "1.0.tar.gz", "1.0-1.tar.gz", "1.0a.tar.gz", "1.0.1.tar.gz"},
	{"20261019.n.3", "20261020.n.0", "20261020.n.1", "20261020.n.10", "20261021.n.0"},
	{"2026-01-31", "2026-02-01", "2026-10-20"},
	{"20260101T170322Z", "20260108T170322Z"},
	{"beta", "8", "8.10", "9", "9-stream", "10", "10.0", "10.1"},
	{"release-9", "release-10"},
	{"9999999999999999999999", "10000000000000000000000"},
	{"x", "x1"},
	{"", "a"},
}

func TestCompare(t *testing.T) {
	for _, list := range ordered {
		for i, a := range list {
			for j, b := range list {
				if got := Compare(a, b); got != cmp.Compare(i, j) {
					t.Errorf("%q and %q: got %d, want %d", a, b, got, cmp.Compare(i, j))
				}
			}
		}
	}
}

// Whatever the names, the order is a total one, and only a text is the same as itself.
func FuzzCompare(f *testing.F) {
	for _, list := range ordered {
		for i := range len(list) - 1 {
			f.Add(list[i], list[i+1], list[0])
		}
	}
	f.Add("1-pre", "1-preview", "1.pre")
	f.Add("1.01", "1.1", "1.001")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		names := []string{a, b, c}
		for _, x := range names {
			for _, y := range names {
				if got := Compare(x, y); got != -Compare(y, x) || (got == 0) != (x == y) {
					t.Errorf("%q and %q: %d, and %d the other way round", x, y, got, Compare(y, x))
				}
			}
		}
		slices.SortFunc(names, Compare)
		if Compare(names[0], names[2]) > 0 {
			t.Errorf("%q do not stay in order", names)
		}
	})
}
