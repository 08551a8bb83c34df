package dirfd_test

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

func TestWalk(t *testing.T) {
	d := open(t, fixture(t), dirfd.Refuse)
	walk := func(name string, visit func(string, *unix.Stat_t) error) (string, error) {
		var seen []string
		err := d.Walk(name, func(name string, st *unix.Stat_t) error {
			if st.Mode&unix.S_IFMT == unix.S_IFDIR {
				name += "/"
			}
			seen = append(seen, name)
			return visit(name, st)
		})
		return strings.Join(seen, " "), err
	}
	fine := func(string, *unix.Stat_t) error { return nil }
	enough := errors.New("enough")
	tests := []struct {
		summary string
		name    string
		visit   func(string, *unix.Stat_t) error
		seen    string
		err     error
	}{
		{"the order of names, and no link is followed", ".", fine, "./ abs dangling in out secret sub/ sub/file", nil},
		{"a directory below", "sub", fine, "sub/ sub/file", nil},
		{"a link", "in", fine, "", unix.ELOOP},
		{"a file", "secret", fine, "", unix.ENOTDIR},
		{"until an error", ".", func(name string, _ *unix.Stat_t) error {
			if name == "dangling" {
				return enough
			}
			return nil
		}, "./ abs dangling", enough},
	}
	for _, test := range tests {
		seen, err := walk(test.name, test.visit)
		if seen != test.seen || !errors.Is(err, test.err) {
			t.Errorf("%s: %s, %v", test.summary, seen, err)
		}
	}
}
