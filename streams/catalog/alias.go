package catalog

import (
	"path"
	"slices"
	"strings"
)

// Aliases returns the names under which clients find a product: those of its
// release and then those of each further name of the release.
func Aliases(n Name, releases []string) []string {
	var aliases []string
	add := func(parts ...string) {
		if alias := path.Join(parts...); !slices.Contains(aliases, alias) {
			aliases = append(aliases, alias)
		}
	}
	for _, release := range append([]string{n.Release}, releases...) {
		release = strings.TrimSpace(release)
		if release == "" || CheckPart(release) != nil {
			continue
		}
		add(n.Distro, release, n.Variant)
		if release == "current" {
			add(n.Distro, n.Variant)
		}
		switch {
		case n.Variant != "default":
		case release == "current":
			add(n.Distro)
		default:
			add(n.Distro, release)
		}
	}
	return aliases
}

// Title returns the display name of a distribution that has no other: every word
// starts with a capital. Words end where Unicode's do, so that an underscore, or a
// dot between letters, does not end one.
func Title(distro string) string {
	lower := strings.ToLower(distro)
	out := []byte(lower)
	inWord := false
	for i, c := range []byte(lower) {
		switch {
		case isLetter(c) && !inWord:
			out[i], inWord = c-'a'+'A', true
		case c == '.' && inWord:
			inWord = i+1 < len(lower) && isLetter(lower[i-1]) && isLetter(lower[i+1])
		case !isLetter(c) && !isDigit(c) && c != '_':
			inWord = false
		}
	}
	return string(out)
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
