package catalog_test

import (
	"strings"
	"testing"

	"imagebuilder/streams/catalog"
)

func TestPassedOver(t *testing.T) {
	tests := []struct{ arch, version, why string }{
		{"amd64", "20260102_0304", ""},
		{"x86_64", "20260102", ""},
		{"armhf", "20260102_03:04", ""},
		{"amd64", "2026-01-02", "does not start with a date"},
		{"amd64", "20260230", "does not start with a date"},
		{"amd64", "v1", "does not start with a date"},
		{"amd64", "", "does not start with a date"},
		{"sparc", "20260102", `the architecture "sparc"`},
		{"AMD64", "20260102", `the architecture "AMD64"`},
		{"", "20260102", `the architecture ""`},
	}
	for _, test := range tests {
		p := &catalog.Product{Arch: test.arch}
		if why := p.PassedOver(test.version); !strings.Contains(why, test.why) || (why == "") != (test.why == "") {
			t.Errorf("%q of %q: %q, want %q", test.version, test.arch, why, test.why)
		}
	}
}

func TestSameArchitecture(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"amd64", "x86_64", true},
		{"armel", "armv6l", true},
		{"loong64", "loongarch64", true},
		{"armhf", "armv6l", false},
		{"unheard-of", "unheard-of", true},
		{"unheard-of", "another", false},
	} {
		if got := catalog.SameArchitecture(test.a, test.b); got != test.want {
			t.Errorf("%s and %s: got %v", test.a, test.b, got)
		}
	}
}
