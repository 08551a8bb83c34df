package streams

import (
	"bytes"
	"encoding/hex"
	"strings"
)

// parseSums reads a SHA256SUMS file: file name to hash. It takes the forms of
// coreutils (text, binary, with an escaped name) and of BSD, upper-case digits,
// tabs and carriage returns. Lines of any other form are passed over, later
// entries win, and names in other directories do not count.
func parseSums(data []byte) map[string]digest {
	sums := make(map[string]digest)
	for line := range bytes.Lines(data) {
		name, sum, ok := parseSumsLine(strings.TrimSpace(string(line)))
		name = strings.TrimPrefix(name, "./")
		if ok && name != "" && !strings.Contains(name, "/") {
			sums[name] = sum
		}
	}
	return sums
}

func parseSumsLine(line string) (string, digest, bool) {
	if rest, ok := strings.CutPrefix(line, "SHA256 ("); ok {
		i := strings.LastIndex(rest, ") = ")
		if i < 0 {
			return "", digest{}, false
		}
		sum, ok := parseDigest(rest[i+4:])
		return rest[:i], sum, ok
	}
	line, escaped := strings.CutPrefix(line, `\`)
	i := strings.IndexAny(line, " \t")
	if i < 0 {
		return "", digest{}, false
	}
	sum, ok := parseDigest(line[:i])
	name := strings.TrimPrefix(strings.TrimLeft(line[i:], " \t"), "*")
	if escaped {
		name = unescape.Replace(name)
	}
	return name, sum, ok
}

// unescape undoes what coreutils does to a name with a newline or a backslash.
var unescape = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r")

func parseDigest(s string) (digest, bool) {
	var d digest
	if len(s) != 2*len(d) {
		return d, false
	}
	_, err := hex.Decode(d[:], []byte(s))
	return d, err == nil
}

// editSums returns the content of a SHA256SUMS file in which the given entries
// have been replaced and, where the hash is zero, removed. Other lines stay as they
// are. The names are those of deltas, which need no escaping.
func editSums(data []byte, edits map[string]digest) []byte {
	var out bytes.Buffer
	current := parseSums(data)
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
	for name, sum := range sorted(edits) {
		if sum != (digest{}) && sum != current[name] {
			out.WriteString(sum.String() + "  " + name + "\n")
		}
	}
	return out.Bytes()
}
