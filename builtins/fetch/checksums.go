package fetch

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Checksum files, in all forms that distributions publish. Each line is read by its format;
// what is none of them does not count.

// algorithms are the digests that are looked for, with the number of hex digits of each.
var algorithms = map[string]int{"sha256": 64, "sha512": 128}

// CheckAlgorithm finds out whether digests of an algorithm can be looked for.
func CheckAlgorithm(name string) error {
	if algorithms[name] == 0 {
		return fmt.Errorf(`the algorithm is %q, want "sha256" or "sha512"`, name)
	}
	return nil
}

var (
	// tagged is a line as BSD's tools and "openssl dgst" write it: SHA256 (name) = hash
	tagged = regexp.MustCompile(`^\\?([A-Za-z0-9/-]+) ?\((.*)\) ?= ?([0-9A-Fa-f]+)$`)
	// plain is a line as coreutils' tools write it, with a star for binary files, and a
	// backslash in front if the name has escapes; a tab is seen as well.
	plain = regexp.MustCompile(`^(\\?)([0-9A-Fa-f]{32,})(?: [ *]|[ \t]+\*?)(.+)$`)
	bare  = regexp.MustCompile(`^[0-9A-Fa-f]{32,}$`)
	// header is a comment of Gentoo's DIGESTS files, over the lines that it is about:
	// # SHA512 HASH
	header = regexp.MustCompile(`^#\s*([A-Za-z0-9-]+)\s+HASH\b`)
)

// Checksum looks for the digest of a file in the text of a checksum file: list and file are
// the URLs of both. A line is about the file if the last element of the name in it is that
// of the file, and if several are, those whose directories fit as well. The digest is in
// lower case.
func Checksum(text []byte, list, file, algorithm string) (string, error) {
	name := fileName(file)
	var found, near []string // near: where the directories are those of the file, too
	var others []string      // names that are there
	var kinds []string       // algorithms that there are of the file
	for _, line := range parseChecksums(text) {
		if line.name == "" && namedFor(fileName(list), name) {
			line.name = name
		}
		if path.Base(line.name) != name {
			if line.name != "" && !slices.Contains(others, path.Base(line.name)) {
				others = append(others, path.Base(line.name))
			}
			continue
		}
		if line.algorithm != "" && line.algorithm != algorithm || len(line.hash) != algorithms[algorithm] {
			kinds = append(kinds, kindOf(line))
			continue
		}
		found = append(found, strings.ToLower(line.hash))
		if line.fits(list, file) {
			near = append(near, strings.ToLower(line.hash))
		}
	}
	if len(near) > 0 {
		found = near
	}
	slices.Sort(found)
	found = slices.Compact(found)
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", fmt.Errorf("it has %d different digests of %s", len(found), name)
	case len(kinds) > 0:
		return "", fmt.Errorf("it has no %s of %s, but %s", strings.ToUpper(algorithm), name, strings.Join(kinds, ", "))
	case len(others) == 0:
		return "", errors.New("there is no checksum in it")
	}
	return "", fmt.Errorf("it does not name %s, but %s", name, some(others))
}

// some shows the beginning of a list.
func some(names []string) string {
	const most = 5
	if n := len(names) - most; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), n)
	}
	return strings.Join(names, ", ")
}

// A checksumLine is one line that names a digest.
type checksumLine struct {
	algorithm string // in lower case; "": the line does not say
	hash      string
	name      string // with its directories; "": the line does not say
}

func kindOf(l checksumLine) string {
	if l.algorithm != "" {
		return strings.ToUpper(l.algorithm)
	}
	return fmt.Sprintf("%d hex digits", len(l.hash))
}

// fits tells whether the directories in a line, seen from the checksum file, lead to the file.
func (l checksumLine) fits(list, file string) bool {
	base, err := url.Parse(list)
	if err != nil {
		return false
	}
	u, err := url.Parse(file)
	if err != nil {
		return false
	}
	return path.Join("/", path.Dir(base.Path), l.name) == path.Clean("/"+u.Path)
}

func parseChecksums(text []byte) []checksumLine {
	var lines []checksumLine
	section := ""
	scan := bufio.NewScanner(bytes.NewReader(text))
	scan.Buffer(nil, len(text)+1)
	for scan.Scan() {
		line := strings.TrimRight(scan.Text(), " \t\r")
		if match := header.FindStringSubmatch(line); match != nil {
			section = algorithmName(match[1])
			continue
		}
		trimmed := strings.TrimLeft(line, " \t")
		if match := tagged.FindStringSubmatch(trimmed); match != nil {
			lines = append(lines, checksumLine{algorithmName(match[1]), match[3], cleanName(match[2], strings.HasPrefix(trimmed, `\`))})
		} else if match := plain.FindStringSubmatch(trimmed); match != nil {
			lines = append(lines, checksumLine{section, match[2], cleanName(match[3], match[1] != "")})
		} else if bare.MatchString(trimmed) {
			lines = append(lines, checksumLine{section, trimmed, ""})
		}
	}
	return lines
}

// algorithmName is the name of an algorithm as it is looked for: SHA2-256 is sha256.
func algorithmName(text string) string {
	text = strings.ToLower(text)
	text = strings.ReplaceAll(text, "sha2-", "sha")
	return strings.ReplaceAll(text, "sha-", "sha")
}

// cleanName is the name in a line, without the escapes of coreutils.
func cleanName(name string, escaped bool) string {
	if escaped {
		name = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r").Replace(name)
	}
	return name
}

// namedFor tells whether a checksum file is that of one file, whose name it has, so that
// it need not say it.
func namedFor(list, name string) bool {
	rest, ok := strings.CutPrefix(list, name+".")
	if !ok {
		return false
	}
	rest = strings.TrimSuffix(strings.ToLower(rest), ".txt")
	rest = strings.TrimSuffix(strings.TrimSuffix(rest, "sums"), "sum")
	return algorithms[rest] != 0
}

// fileName is the last element of a URL's path, decoded.
func fileName(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return path.Base(text)
	}
	if u.Opaque != "" {
		return path.Base(u.Opaque)
	}
	return path.Base(u.Path)
}

// decodeHex finds what is wrong with a digest, unless it is empty.
func decodeHex(digest string, digits int, name string) error {
	if _, err := hex.DecodeString(digest); err != nil || digest != "" && len(digest) != digits {
		return fmt.Errorf("not a %s of %d hex digits: %q", name, digits, digest)
	}
	return nil
}
