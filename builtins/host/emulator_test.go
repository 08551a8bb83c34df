package host_test

import (
	"context"
	"testing"

	"imagebuilder/builtins/host"
)

func TestRuns(t *testing.T) {
	for _, test := range []struct {
		summary string
		heads   [][]byte
		want    bool
	}{
		{"no program", nil, false},
		{"an unknown one", [][]byte{[]byte("no program at all")}, false},
		{"one that fails", [][]byte{[]byte("nothing"), []byte("#!/bin/false\n")}, true},
	} {
		if got, err := host.Runs(context.Background(), test.heads); err != nil || got != test.want {
			t.Errorf("%s: %v, %v", test.summary, got, err)
		}
	}
}
