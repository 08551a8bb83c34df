package digest

import (
	"bytes"
	"maps"
	"slices"
	"strings"
)

// Files such as SHA256SUMS come from anybody. They are read in all the forms that they have, and
// changed by single lines only.

// SignatureSuffixes are the ends of names of signatures beside such a file.
var SignatureSuffixes = []string{".asc", ".gpg", ".sig"}

// ParseSums reads a SHA256SUMS file: file name to hash. It takes the forms of
// coreutils (text, binary, with an escaped name) and of BSD, upper-case digits,
// tabs and carriage returns. Lines of any other form are passed over, later
// entries win, and names in other directories do not count.
func ParseSums(data []byte) map[string]Digest {
	sums := make(map[string]Digest)
	for line := range bytes.Lines(data) {
		name, sum, ok := parseSumsLine(strings.TrimSpace(string(line)))
		name = strings.TrimPrefix(name, "./")
		if ok && name != "" && !strings.Contains(name, "/") {
			sums[name] = sum
		}
	}
	return sums
}

func parseSumsLine(line string) (string, Digest, bool) {
	if rest, ok := strings.CutPrefix(line, "SHA256 ("); ok {
		i := strings.LastIndex(rest, ") = ")
		if i < 0 {
			return "", Digest{}, false
		}
		sum, err := Parse(rest[i+4:])
		return rest[:i], sum, err == nil
	}
	line, escaped := strings.CutPrefix(line, `\`)
	i := strings.IndexAny(line, " \t")
	if i < 0 {
		return "", Digest{}, false
	}
	sum, err := Parse(line[:i])
	name := strings.TrimPrefix(strings.TrimLeft(line[i:], " \t"), "*")
	if escaped {
		name = unescape.Replace(name)
	}
	return name, sum, err == nil
}

// unescape undoes what coreutils does to a name with a newline or a backslash.
var unescape = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r")

// EditSums returns the content of a SHA256SUMS file in which the given entries
// have been replaced and, where the hash is zero, removed. Other lines stay as they
// are. The names need no escaping.
func EditSums(data []byte, edits map[string]Digest) []byte {
	var out bytes.Buffer
	current := ParseSums(data)
	for line := range bytes.Lines(data) {
		name, _, ok := parseSumsLine(strings.TrimSpace(string(line)))
		sum, edited := edits[strings.TrimPrefix(name, "./")]
		if ok && edited && sum != current[name] {
			continue
		}
		out.Write(line)
	}
	if out.Len() > 0 && !bytes.HasSuffix(out.Bytes(), []byte("\n")) {
		out.WriteByte('\n')
	}
	for _, name := range slices.Sorted(maps.Keys(edits)) {
		if sum := edits[name]; sum != (Digest{}) && sum != current[name] {
			out.WriteString(sum.String() + "  " + name + "\n")
		}
	}
	return out.Bytes()
}
