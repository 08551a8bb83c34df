// Package lock is the file that pins what came over the wire: each answer that a build got from
// the network, by URL and digest. It knows how the file is read, written and merged, which
// answers hold in a run, and where the bytes of answers are kept. How servers are asked is no
// business of it.
package lock

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/printable"
	"imagebuilder/builtins/problems"
)

// The file: a fact a line, sorted, with nothing that counts lines or sums them up, so that what
// two branches have added can be united line by line.
//
//	imagebuilder lock 1
//	epoch 1795432957
//	get sha256:<64 hex digits> 1372852 http://archive.example/debian/pool/main/a/apt/apt_2.6.1_amd64.deb
//	gone http://archive.example/debian/dists/bookworm/main/i18n/Translation-de.xz

// header is the first line: what the file is, and the version of its format.
const (
	header  = "imagebuilder lock "
	version = "1"
)

// maxFile bounds the size of a lock.
const maxFile = 64 << 20

// A kind is the first word of a line.
type kind string

const (
	epoch  kind = "epoch"  // SECONDS: the time of what is made
	file   kind = "file"   // DIGEST SIZE PATH: a file of this machine
	get    kind = "get"    // DIGEST SIZE URL: what a server has sent
	gone   kind = "gone"   // URL: it has nothing
	head   kind = "head"   // SIZE URL: it has something, - is of a size that it does not say
	mirror kind = "mirror" // PREFIX PREFIX: the second serves what the first has served
	moved  kind = "moved"  // URL URL: the first leads to the second
	result kind = "result" // DIGEST NAME [OPTION=VALUE]…: what came of it
	tool   kind = "tool"   // NAME VERSION: a program of the host that took part
)

// A Content is bytes that are known by their digest.
type Content struct {
	SHA256 string
	Size   int64 // in bytes
}

func (c Content) String() string { return fmt.Sprintf("sha256:%s %d", c.SHA256, c.Size) }

// A fact is a line without its value: what it is about.
type fact struct {
	kind  kind
	about string // as it is written
}

// A File is the content of a lock.
type File struct {
	values map[fact]string // what is said of each, as it is written
}

// Read reads a lock; without the file it is empty.
func Read(name string) (*File, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return new(File), nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the lock: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the lock: %w", err)
	}
	return Parse(name, data)
}

// Parse reads the text of a lock, whose lines may come in any order. name is what errors call it.
func Parse(name string, data []byte) (*File, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	}
	first, rest, _ := strings.Cut(string(data), "\n")
	format, ok := strings.CutPrefix(first, header)
	switch {
	case !ok:
		return nil, fmt.Errorf("%s:1: this is no lock: its first line is not %q", name, header+version)
	case format != version:
		return nil, fmt.Errorf("%s:1: its format is %s, this version of imagebuilder knows %s: take the one that has written it, or lock anew with --update",
			name, printable.Line(format), version)
	}
	f := new(File)
	var errs []error
	at := make(map[fact]int)
	for i, text := range strings.Split(strings.TrimSuffix(rest, "\n"), "\n") {
		text = strings.TrimSuffix(text, "\r")
		if text == "" {
			continue
		}
		about, value, err := parseLine(text)
		if before, twice := f.values[about]; err == nil && twice && before != value {
			if about.kind == epoch { // of two branches: nothing may be newer than the image says
				value = newer(before, value)
			} else {
				err = fmt.Errorf("line %d says something else of %s: two branches have seen different states of it; lock anew with --update", at[about], printable.Line(about.about))
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", name, i+2, err))
			continue
		}
		at[about] = i + 2
		f.set(about, value)
	}
	return f, problems.Join(append(errs, f.contradictions(name, at))...)
}

// contradicts tells whether a lock says that there is nothing where a fact says that there is
// something, or the other way round.
func (f *File) contradicts(about fact) bool {
	switch about.kind {
	case gone:
		return f.has(fact{get, about.about}) || f.has(fact{head, about.about})
	case get, head:
		return f.has(fact{gone, about.about})
	}
	return false
}

// contradictions finds URLs of which a lock says both that there is something and that there is
// nothing.
func (f *File) contradictions(name string, at map[fact]int) error {
	var errs []error
	for about := range f.values {
		if about.kind != gone {
			continue
		}
		for _, k := range []kind{get, head} {
			if other := (fact{k, about.about}); f.has(other) {
				errs = append(errs, fmt.Errorf("%s:%d: line %d says something else of %s: two branches have seen different states of it; lock anew with --update",
					name, max(at[about], at[other]), min(at[about], at[other]), printable.Line(about.about)))
			}
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return problems.Join(errs...)
}

// parseLine reads a line other than the first.
func parseLine(text string) (about fact, value string, err error) {
	words := strings.Split(text, " ")
	about.kind = kind(words[0])
	want := func(n int, usage string) error {
		if len(words) != n || slices.Contains(words, "") {
			return fmt.Errorf("want %s %s, not %q", about.kind, usage, text)
		}
		return nil
	}
	switch about.kind {
	case epoch:
		if err = want(2, "SECONDS"); err == nil {
			value = words[1]
			err = checkNumber(value)
		}
	case get, file:
		if err = want(4, "sha256:DIGEST SIZE URL"); err == nil {
			about.about, value = words[3], words[1]+" "+words[2]
			_, err = parseContent(value)
		}
	case gone:
		if err = want(2, "URL"); err == nil {
			about.about = words[1]
		}
	case head:
		if err = want(3, "SIZE URL"); err == nil {
			about.about, value = words[2], words[1]
			if value != "-" {
				err = checkNumber(value)
			}
		}
	case mirror, moved:
		if err = want(3, "URL URL"); err == nil {
			about.about, value = words[1], words[2]
		}
		if err == nil && about.kind == mirror { // several may serve the same
			about.about, value = words[1]+" "+words[2], ""
		}
	case result:
		if len(words) < 3 || slices.Contains(words, "") {
			return about, "", fmt.Errorf("want result sha256:DIGEST NAME [OPTION=VALUE]…, not %q", text)
		}
		value, about.about = words[1], strings.Join(words[2:], " ")
		_, err = parseDigest(value)
	case tool:
		name, version, ok := strings.Cut(strings.TrimPrefix(text, "tool "), " ")
		if !ok || name == "" || version == "" || printable.Line(version) != version || strings.TrimSpace(version) != version {
			return about, "", fmt.Errorf("want tool NAME VERSION, not %q", text)
		}
		about.about, value = name, version
	default:
		err = fmt.Errorf("no line of a lock begins with %q", words[0])
	}
	if err == nil && printable.Line(about.about+value) != about.about+value {
		err = fmt.Errorf("it has bytes that cannot be printed: %q", text)
	}
	return about, value, err
}

func checkNumber(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != text {
		return fmt.Errorf("not a number: %q", text)
	}
	return nil
}

func parseDigest(text string) (string, error) {
	sum, ok := strings.CutPrefix(text, "sha256:")
	d, err := digest.Parse(sum)
	if !ok || err != nil || d.String() != sum {
		return "", fmt.Errorf("not a digest, as sha256:DIGITS: %q", text)
	}
	return sum, nil
}

func parseContent(text string) (Content, error) {
	sum, size, _ := strings.Cut(text, " ")
	d, err := parseDigest(sum)
	if err == nil {
		err = checkNumber(size)
	}
	if err != nil {
		return Content{}, err
	}
	n, _ := strconv.ParseInt(size, 10, 64) // it is a number
	return Content{d, n}, nil
}

// newer is the larger one of two numbers without leading zeros.
func newer(a, b string) string {
	if cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) > 0 {
		return a
	}
	return b
}

// word is a text as one word of printed ASCII: all else is escaped as in URLs, and what is in also.
func word(text, also string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c <= ' ' || c > '~' || strings.IndexByte(also, c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func (f *File) set(about fact, value string) {
	if f.values == nil {
		f.values = make(map[fact]string)
	}
	f.values[about] = value
}

func (f *File) has(about fact) bool { _, ok := f.values[about]; return ok }

// line is a fact as it is written.
func line(about fact, value string) string {
	switch about.kind {
	case epoch:
		return fmt.Sprintf("%s %s", about.kind, value)
	case gone, mirror:
		return fmt.Sprintf("%s %s", about.kind, about.about)
	case moved, tool:
		return fmt.Sprintf("%s %s %s", about.kind, about.about, value)
	}
	return fmt.Sprintf("%s %s %s", about.kind, value, about.about)
}

// Bytes is the text of a lock. Lines about URLs are sorted by these, so that a new version of a
// file stands where the old one did.
func (f *File) Bytes() []byte {
	var b strings.Builder
	b.WriteString(header + version + "\n")
	for _, about := range slices.SortedFunc(maps.Keys(f.values), func(a, b fact) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.about, b.about))
	}) {
		b.WriteString(line(about, f.values[about]) + "\n")
	}
	return []byte(b.String())
}

// Empty tells whether nothing is pinned.
func (f *File) Empty() bool { return len(f.values) == 0 }

// Wire is the digest of all that came from the network: that of a step which depends on more of
// it than anybody knows.
func (f *File) Wire() string {
	wire := new(File)
	for about, value := range f.values {
		switch about.kind {
		case get, gone, head, moved:
			wire.set(about, value)
		}
	}
	return digest.Sum(wire.Bytes()).String()
}
