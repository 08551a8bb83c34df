package fetch_test

import (
	"strings"
	"testing"

	"imagebuilder/builtins/fetch"
)

func TestFilePath(t *testing.T) {
	for text, want := range map[string]string{
		"file:///srv/a.tar":              "/srv/a.tar",
		"file:/srv/a.tar":                "/srv/a.tar",
		"FILE:///srv/a.tar":              "/srv/a.tar",
		"file://localhost/srv/a.tar":     "/srv/a.tar",
		"file://LOCALHOST/srv/a.tar":     "/srv/a.tar",
		"file:///srv/a%20b%3Fc%23.tar":   "/srv/a b?c#.tar",
		"file:///srv/a b.tar":            "/srv/a b.tar",
		"file:///srv/caf%e9":             "/srv/caf\xe9",
		"file:///srv/a.tar?raw=1#part":   "/srv/a.tar",
		"file:a+b.tar":                   "a+b.tar",
		"file:sub/../a.tar":              "sub/../a.tar",
		"file:////srv/a.tar":             "//srv/a.tar",
		"file:///srv/http://x?file:///y": "/srv/http://x",
	} {
		if got, err := fetch.FilePath(text); got != want || err != nil || !fetch.IsFile(text) {
			t.Errorf("%s is %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"file://srv/a.tar": "is a file of the machine srv, not of this one",
		"file:///srv/a%2":  `invalid URL escape "%2"`,
		"file:":            "it has no path",
		"file:?a":          "it has no path",
	} {
		if got, err := fetch.FilePath(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is %q, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"/srv/file:/x", "files:x", "http://x/file:y", "file"} {
		if fetch.IsFile(text) {
			t.Errorf("%s is the URL of a file", text)
		}
	}
}
