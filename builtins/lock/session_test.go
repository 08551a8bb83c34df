package lock_test

import (
	"strings"
	"testing"

	"imagebuilder/builtins/lock"
)

// A lock never says that a file is there and is not: it could not be read.
func TestContradictions(t *testing.T) {
	const url = "http://archive.example/file"
	content := lock.Content{SHA256: one[len("sha256:"):], Size: 5}
	got := func(s *lock.Session) error { return s.Got(url, content, "") }
	seen := func(s *lock.Session) error { return s.Seen(url, 5) }
	gone := func(s *lock.Session) error { return s.NotThere(url) }
	for _, test := range []struct {
		summary       string
		before        string // in the lock
		first, second func(*lock.Session) error
		err           string
	}{
		{"the same twice", "", got, got, ""},
		{"its bytes, after its size", "", seen, got, ""},
		{"gone, after its bytes", "", got, gone, lock.ErrChanged.Error()},
		{"gone, after its size", "", seen, gone, lock.ErrChanged.Error()},
		{"its size, after it was gone", "", gone, seen, lock.ErrChanged.Error()},
		{"its bytes, after it was gone", "", gone, got, lock.ErrChanged.Error()},
		{"gone, where the lock has its size", "head 5 " + url, gone, gone, url + ": my.lock says something else of it: lock anew with --update"},
		{"its bytes, where the lock has its size", "head 5 " + url, got, got, ""},
	} {
		f, err := lock.Parse("my.lock", []byte("imagebuilder lock 1\n"+test.before+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		s := lock.Open("my.lock", f, lock.Bodies{Dir: t.TempDir()}, true)
		if err = test.first(s); err == nil {
			err = test.second(s)
		}
		if (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
			t.Errorf("%s: %v, want %q", test.summary, err, test.err)
		}
		if (s.Err() == nil) != (test.err == "") {
			t.Errorf("%s: the run ends with %v", test.summary, s.Err())
		}
		if _, err := lock.Parse("my.lock", s.Merged(false).Bytes()); err != nil {
			t.Errorf("%s: what is written cannot be read: %v", test.summary, err)
		}
	}
}

// Mirrors take the place of a prefix as a whole.
func TestPlaces(t *testing.T) {
	f, err := lock.Parse("my.lock", []byte("imagebuilder lock 1\nmirror http://a/debian http://snapshot/debian/2026\nmirror http://a/ https://b/a/\nmirror http://a/debian http://c\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		url    string
		places string
	}{
		{"http://a/debian/pool/x.deb", "https://b/a/debian/pool/x.deb http://c/pool/x.deb http://snapshot/debian/2026/pool/x.deb"},
		{"http://a/debian-security/x", "https://b/a/debian-security/x"},
		{"http://a/debian", "https://b/a/debian http://c http://snapshot/debian/2026"},
		{"http://user:secret@a/x", "https://b/a/x"},
		{"https://a/debian/x", ""},
	} {
		want := strings.TrimSpace(test.url + " " + test.places)
		if got := strings.Join(f.Places(test.url), " "); got != want {
			t.Errorf("%s: %s, want %s", test.url, got, want)
		}
	}
}
