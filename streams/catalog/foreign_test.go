package catalog_test

import (
	"strings"
	"testing"

	"imagebuilder/streams/catalog"
)

// TestReaderForeign holds that a product without distro is taken as clients take it when that
// is asked for, and that no file of it is outside the site.
func TestReaderForeign(t *testing.T) {
	const flat = `{"products":{"debian:13:default:amd64":{"arch":"amd64","os":"debian","versions":{"202601020304":{"items":{` +
		`"a":{"ftype":"squashfs","path":"images/x.squashfs","sha256":"S"}}}}}}}`
	tests := []struct {
		summary  string
		old, new string
		foreign  bool
		taken    bool
	}{
		{"a flat site", "", "", true, true},
		{"where it is not asked for", "", "", false, false},
		{"a path that leads out", "images/x", "images/../../x", true, false},
		{"an absolute path", "images/x", "/images/x", true, false},
		{"a hash that is none", `"S"`, `"x"`, true, false},
		{"a product of this tool's that is damaged", `"arch"`, `"distro":"debian","arch"`, true, false},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			text := strings.ReplaceAll(strings.Replace(flat, test.old, test.new, 1), `"S"`, `"`+sum+`"`)
			r := catalog.NewReader(strings.NewReader(text), "images")
			r.Foreign = test.foreign
			_, p, err := r.Next()
			if taken := err == nil; taken != test.taken {
				t.Fatalf("got %v", err)
			}
			if test.taken && (!p.Foreign || p.Dir("images", "202601020304") != "images") {
				t.Errorf("%+v", p)
			}
		})
	}
}
