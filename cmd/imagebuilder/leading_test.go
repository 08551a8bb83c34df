package main

import (
	"strings"
	"testing"
)

// Flags may stand before the verb, but not where they would mean something else.
func TestVerbFirst(t *testing.T) {
	tests := []struct{ args, want string }{
		{"run debian --debug", "run debian --debug"},
		{"--debug run debian out", "run --debug debian out"},
		{"--cache dir run debian", "run --cache dir debian"},
		{"--cache=dir -o release=x run debian", "run --cache=dir -o release=x debian"},
		{"--cache run run debian", "run --cache run debian"},
		{"--json stream list tree", "stream list --json tree"},
		{"--cache dir cache list", "cache list --cache dir"},
		{"--version", "--version"},
		{"--wrong run debian", "--wrong run debian"},
		{"--debug nothing", "--debug nothing"},
		{"-- run", "-- run"},
		{"", ""},
	}
	for _, test := range tests {
		got := strings.Join(verbFirst(newRootCommand(), strings.Fields(test.args)), " ")
		if got != test.want {
			t.Errorf("%q: got %q, want %q", test.args, got, test.want)
		}
	}
}
