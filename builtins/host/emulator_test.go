package host_test

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/magic"
)

func TestRuns(t *testing.T) {
	for _, test := range []struct {
		summary string
		heads   [][]byte
		want    bool
	}{
		{"no program", nil, false},
		{"an unknown one", [][]byte{[]byte("no program at all")}, false},
		{"one of this machine", magic.Programs(uname(t)), true},
		{"one that fails", [][]byte{[]byte("nothing"), []byte("#!/bin/false\n")}, true},
	} {
		if got, err := host.Runs(context.Background(), test.heads); err != nil || got != test.want {
			t.Errorf("%s: %v, %v", test.summary, got, err)
		}
	}
}

func uname(t *testing.T) string {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	return unix.ByteSliceToString(name.Machine[:])
}
