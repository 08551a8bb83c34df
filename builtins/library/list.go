package library

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/problems"
)

// The file imagebuilder.mod: a library a line, sorted by name, so that changes of several people
// merge line by line. Comments and empty lines stay where they are.
//
//	# what we share with the other teams
//	acme url=https://example.org/acme-1.2.tar.gz sha256=<64 hex digits> prefix=acme-1.2
//	lab  dir=../lab

// FileName is the name of the list of libraries in the directory of a recipe.
const FileName = "imagebuilder.mod"

// maxFile bounds the size of a list.
const maxFile = 1 << 20

// A Pin is what a list says of one library.
type Pin struct {
	Name   string
	Dir    string // a folder, used in place of the archive; relative to that of the list
	URL    string // of an archive
	SHA256 string // of that, in hexadecimal
	Prefix string // directory in the archive that is the root of the library; "": the archive itself
	Files  string // digest of the files, see [Sum], by which a vendored copy is checked; "": there is none
}

// A List is a file imagebuilder.mod.
type List struct{ lines []line }

// A line is one of a list. A pin that is changed loses its text.
type line struct {
	text string
	pin  *Pin // nil: there is none on it
}

// keys are what a line may say, in the order in which it is written.
var keys = []struct {
	name string
	of   func(*Pin) *string
}{
	{"dir", func(p *Pin) *string { return &p.Dir }},
	{"url", func(p *Pin) *string { return &p.URL }},
	{"sha256", func(p *Pin) *string { return &p.SHA256 }},
	{"prefix", func(p *Pin) *string { return &p.Prefix }},
	{"files", func(p *Pin) *string { return &p.Files }},
}

// Read reads the list in the directory of a recipe; it is empty if there is no file.
func Read(dir string) (*List, error) {
	name := filepath.Join(dir, FileName)
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return new(List), nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the list of libraries: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the list of libraries: %w", err)
	}
	return Parse(name, data)
}

// Parse reads the text of a list. name is what errors call it.
func Parse(name string, data []byte) (*List, error) {
	switch {
	case len(data) > maxFile:
		return nil, fmt.Errorf("%s is larger than %d bytes", name, maxFile)
	case !utf8.Valid(data):
		return nil, fmt.Errorf("%s is not UTF-8", name)
	}
	l := new(List)
	var errs []error
	at := make(map[string]int)
	if len(data) == 0 {
		return l, nil
	}
	for i, text := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		one := line{text: strings.TrimSuffix(text, "\r")}
		pin, err := parseLine(one.text)
		if err == nil && pin != nil && at[pin.Name] > 0 {
			err = fmt.Errorf("%s is in line %d already", pin.Name, at[pin.Name])
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", name, i+1, err))
			continue
		}
		if one.pin = pin; pin != nil {
			at[pin.Name] = i + 1
		}
		l.lines = append(l.lines, one)
	}
	return l, problems.Join(errs...)
}

// parseLine reads a line; nil is one without a library.
func parseLine(text string) (*Pin, error) {
	words, _, err := split(text)
	if err != nil || len(words) == 0 {
		return nil, err
	}
	pin := &Pin{Name: words[0]}
	said := make(map[string]bool)
	for _, word := range words[1:] {
		key, value, ok := strings.Cut(word, "=")
		i := slices.IndexFunc(keys, func(k struct {
			name string
			of   func(*Pin) *string
		}) bool {
			return k.name == key
		})
		switch {
		case !ok || i < 0:
			return nil, fmt.Errorf("%q is none of dir=, url=, sha256=, prefix= and files=", word)
		case said[key]:
			return nil, fmt.Errorf("%s= is there twice", key)
		case value == "":
			return nil, fmt.Errorf("%s= is empty", key)
		}
		said[key] = true
		*keys[i].of(pin) = value
	}
	return pin, pin.Check()
}

// split returns the words of a line, and the comment behind them. What has spaces in it is
// written as KEY="TEXT".
func split(text string) (words []string, comment string, err error) {
	for {
		text = strings.TrimLeft(text, " \t")
		if text == "" || text[0] == '#' {
			return words, text, nil
		}
		end := strings.IndexAny(text, " \t\"")
		if end < 0 {
			end = len(text)
		}
		word := text[:end]
		text = text[end:]
		if strings.HasPrefix(text, `"`) {
			quoted, err := strconv.QuotedPrefix(text)
			if err != nil {
				return nil, "", fmt.Errorf("the text behind %s does not end: %s", word, text)
			}
			value, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, "", err
			}
			if text = text[len(quoted):]; text != "" && !strings.ContainsAny(text[:1], " \t#") {
				return nil, "", fmt.Errorf("something follows %s%s without a space", word, quoted)
			}
			word += value
		}
		words = append(words, word)
	}
}

var goodName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)

// taken are the names of the libraries that come with the tool.
var taken = []string{"stdlib", "recipes"}

// CheckName finds what is wrong with the name of a library.
func CheckName(name string) error {
	switch {
	case !goodName.MatchString(name):
		return fmt.Errorf("%q is no name of a library: it has up to 64 letters, digits, - and _, a letter first", name)
	case slices.Contains(taken, name):
		return fmt.Errorf("@%s comes with the tool; choose another name", name)
	}
	return nil
}

// Check finds what is wrong with a pin without looking at anything else.
func (p Pin) Check() error {
	if err := CheckName(p.Name); err != nil {
		return err
	}
	for _, k := range keys {
		value := *k.of(&p)
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) || !utf8.ValidString(value) {
			return fmt.Errorf("%s: %s= has bytes that are no text", p.Name, k.name)
		}
	}
	switch {
	case p.URL == "" && p.Dir == "":
		return fmt.Errorf("%s has neither url= nor dir=", p.Name)
	case p.URL == "" && (p.SHA256 != "" || p.Prefix != "" || p.Files != ""):
		return fmt.Errorf("%s has no url=, which sha256=, prefix= and files= are about", p.Name)
	case p.URL == "":
		return nil
	case p.SHA256 == "":
		return fmt.Errorf("%s is not pinned: it has no sha256=; 'imagebuilder mod update %s %s' adds that of what is there now", p.Name, p.Name, p.URL)
	}
	if err := fetch.CheckURL(p.URL); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	for _, sum := range []string{p.SHA256, p.Files} {
		if _, err := digest.Parse(sum); err != nil && sum != "" {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return checkPrefix(p)
}

func checkPrefix(p Pin) error {
	if p.Prefix != "" && (!fs.ValidPath(p.Prefix) || p.Prefix == ".") {
		return fmt.Errorf("%s: prefix=%s is no directory in an archive", p.Name, p.Prefix)
	}
	return nil
}

// String is the line of a pin.
func (p Pin) String() string {
	var b strings.Builder
	b.WriteString(p.Name)
	for _, k := range keys {
		if value := *k.of(&p); value != "" {
			if strings.ContainsAny(value, " \"#\\") || !isPlain(value) {
				value = strconv.Quote(value)
			}
			fmt.Fprintf(&b, " %s=%s", k.name, value)
		}
	}
	return b.String()
}

func isPlain(text string) bool { return strconv.Quote(text) == `"`+text+`"` }

// Pins are the libraries of a list, in its order.
func (l *List) Pins() []Pin {
	var pins []Pin
	for _, one := range l.lines {
		if one.pin != nil {
			pins = append(pins, *one.pin)
		}
	}
	return pins
}

// Find returns what the list says of a library.
func (l *List) Find(name string) (Pin, bool) {
	for _, one := range l.lines {
		if one.pin != nil && one.pin.Name == name {
			return *one.pin, true
		}
	}
	return Pin{}, false
}

// Set changes the line of a library, whose comment stays, or adds one: before the first that
// has a greater name.
func (l *List) Set(pin Pin) {
	for i, one := range l.lines {
		if one.pin != nil && one.pin.Name == pin.Name {
			l.lines[i] = line{text: pin.String() + commentOf(one.text), pin: &pin}
			return
		}
	}
	at := len(l.lines)
	for i, one := range l.lines {
		if one.pin != nil && one.pin.Name > pin.Name {
			for at = i; at > 0 && strings.HasPrefix(l.lines[at-1].text, "#"); at-- { // what is said of that
			}
			break
		}
	}
	l.lines = slices.Insert(l.lines, at, line{text: pin.String(), pin: &pin})
}

// commentOf is the comment at the end of a line, with a space before it.
func commentOf(text string) string {
	if _, comment, _ := split(text); comment != "" {
		return " " + comment
	}
	return ""
}

// Bytes is the text of the list.
func (l *List) Bytes() []byte {
	var b strings.Builder
	for _, one := range l.lines {
		b.WriteString(one.text + "\n")
	}
	return []byte(b.String())
}
