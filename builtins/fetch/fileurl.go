package fetch

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// URLs of files of this machine are not fetched, but read here, so that all who take them
// mean the same by one.

// IsFile tells whether a text is a URL of a file of this machine, as in RFC 8089.
func IsFile(text string) bool {
	scheme, _, ok := strings.Cut(text, ":")
	return ok && strings.EqualFold(scheme, "file")
}

// FilePath returns the path that a URL of a file stands for. It may be relative, which RFC
// 8089 does not know: "file:base.tar". A query and a fragment mean nothing to files.
func FilePath(text string) (string, error) {
	_, name, _ := strings.Cut(text, ":")
	if end := strings.IndexAny(name, "?#"); end >= 0 {
		name = name[:end]
	}
	if rest, ok := strings.CutPrefix(name, "//"); ok {
		host, path, _ := strings.Cut(rest, "/")
		if host != "" && !strings.EqualFold(host, "localhost") {
			return "", fmt.Errorf("%q is a file of the machine %s, not of this one: a path begins with three slashes, as in file:///srv/x", text, host)
		}
		name = "/" + path
	}
	path, err := url.PathUnescape(name)
	if err == nil && path == "" {
		err = errors.New("it has no path")
	}
	if err != nil {
		return "", fmt.Errorf("not the URL of a file: %q: %w", text, err)
	}
	return path, nil
}
