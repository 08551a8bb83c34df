package inventory

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"imagebuilder/builtins/digest"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/site"
)

// SHA256SUMS files come from whoever uploads, in many forms, perhaps signed. They are read in
// all of these forms, and changed by single lines only.

// ParseSums reads a SHA256SUMS file: file name to hash. It takes the forms of
// coreutils (text, binary, with an escaped name) and of BSD, upper-case digits,
// tabs and carriage returns. Lines of any other form are passed over, later
// entries win, and names in other directories do not count.
func ParseSums(data []byte) map[string]digest.Digest {
	sums := make(map[string]digest.Digest)
	for line := range bytes.Lines(data) {
		name, sum, ok := parseSumsLine(strings.TrimSpace(string(line)))
		name = strings.TrimPrefix(name, "./")
		if ok && name != "" && !strings.Contains(name, "/") {
			sums[name] = sum
		}
	}
	return sums
}

func parseSumsLine(line string) (string, digest.Digest, bool) {
	if rest, ok := strings.CutPrefix(line, "SHA256 ("); ok {
		i := strings.LastIndex(rest, ") = ")
		if i < 0 {
			return "", digest.Digest{}, false
		}
		sum, err := digest.Parse(rest[i+4:])
		return rest[:i], sum, err == nil
	}
	line, escaped := strings.CutPrefix(line, `\`)
	i := strings.IndexAny(line, " \t")
	if i < 0 {
		return "", digest.Digest{}, false
	}
	sum, err := digest.Parse(line[:i])
	name := strings.TrimPrefix(strings.TrimLeft(line[i:], " \t"), "*")
	if escaped {
		name = unescape.Replace(name)
	}
	return name, sum, err == nil
}

// unescape undoes what coreutils does to a name with a newline or a backslash.
var unescape = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r")

// editSums returns the content of a SHA256SUMS file in which the given entries
// have been replaced and, where the hash is zero, removed. Other lines stay as they
// are. The names are those of deltas, which need no escaping.
func editSums(data []byte, edits map[string]digest.Digest) []byte {
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
	for name, sum := range Sorted(edits) {
		if sum != (digest.Digest{}) && sum != current[name] {
			out.WriteString(sum.String() + "  " + name + "\n")
		}
	}
	return out.Bytes()
}

// UpdateSums enters the hashes of deltas into the SHA256SUMS of a version, removing
// those that are zero, and returns the stamp of what is there then. One that is
// signed stays as it is.
func UpdateSums(files *site.Files, place catalog.Location, edits map[string]digest.Digest) (site.Stamp, error) {
	name := place.File(SumsName)
	data, err := files.ReadSmall(name)
	if err != nil {
		return site.Stamp{}, err
	}
	edited := editSums(data, edits)
	if string(edited) != string(data) && !signed(files, name) {
		err = files.Replace(name, func(w *bufio.Writer) error { _, err := w.Write(edited); return err })
	}
	if err != nil {
		return site.Stamp{}, err
	}
	st, err := files.Lstat(name)
	return site.StampOf(&st), err
}

// signedSum returns what the SHA256SUMS of a version say of a file, nil if they say
// nothing or nobody has signed them, so that they can be changed.
func signedSum(files *site.Files, place catalog.Location, name string) (*digest.Digest, error) {
	sums := place.File(SumsName)
	if !signed(files, sums) {
		return nil, nil
	}
	data, err := files.ReadSmall(sums)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if sum, ok := ParseSums(data)[name]; ok {
		return &sum, nil
	}
	return nil, nil
}

// signed tells whether there is a detached signature beside a file.
func signed(files *site.Files, name string) bool {
	for _, suffix := range []string{".asc", ".gpg", ".sig"} {
		if _, err := files.Lstat(name + suffix); err == nil {
			return true
		}
	}
	return false
}

// WriteSums writes the hashes of a version's items.
func WriteSums(files *site.Files, place catalog.Location, v *FoundVersion) error {
	return files.Write(place.File(SumsName), func(w *bufio.Writer) error {
		for _, f := range v.Files {
			if f.Class.IsItem() {
				fmt.Fprintf(w, "%s  %s\n", f.Sum, f.Name) // the writer keeps its error
			}
		}
		return nil
	})
}
