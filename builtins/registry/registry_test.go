package registry

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Manifests that nobody serves any more are named.
func TestSchema1(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
		io.WriteString(w, `{"schemaVersion": 1}`)
	}))
	defer s.Close()
	_, err := Client{}.Find(context.Background(), Query{Reference: strings.TrimPrefix(s.URL, "http://") + "/x", Platform: "linux/amd64"})
	if err == nil || !strings.Contains(err.Error(), "schema 1") {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct{ reference, platform, want string }{
		{"alpine", "linux/amd64", ""},
		{"host:5000/a/b:1@sha256:" + strings.Repeat("0", 64), "linux/arm/v7", ""},
		{"A B", "linux/amd64", `not the reference of an image: "A B"`},
		{"alpine", "amd64", `not a platform such as linux/amd64: "amd64"`},
	} {
		err := Query{Reference: test.reference, Platform: test.platform}.Check()
		if err == nil && test.want != "" || err != nil && err.Error() != test.want {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

func TestServes(t *testing.T) {
	for _, test := range []struct {
		has, want string
		serves    bool
	}{
		{"linux/arm64/v8", "linux/arm64", true},
		{"linux/arm/v6", "linux/arm/v7", true},
		{"linux/arm/v7", "linux/arm/v6", false},
		{"linux/amd64", "linux/386", false},
		{"windows/amd64", "linux/amd64", false},
	} {
		has, err := v1.ParsePlatform(test.has)
		if err != nil {
			t.Fatal(err)
		}
		want, err := v1.ParsePlatform(test.want)
		if err != nil {
			t.Fatal(err)
		}
		if got := serves(*has, *want); got != test.serves {
			t.Errorf("%+v: %v", test, got)
		}
	}
}
