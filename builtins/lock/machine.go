package lock

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"imagebuilder/builtins/digest"
)

// What a lock says of the machine that a build was on: files outside of the recipe's directory,
// programs that took part, and what came of it.

// Outside tells whether a file of this machine is one that does not come with the recipe.
func (s *Session) Outside(path string) bool {
	path, err := filepath.Abs(path)
	rel, relErr := filepath.Rel(s.Dir, path)
	return s.Dir == "" || err != nil || relErr != nil || rel == ".." || strings.HasPrefix(rel, "../")
}

// File is what the lock says of a file of this machine. Where ok is false while it is recorded, it is
// to be kept.
func (s *Session) File(path string) (c Content, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := fact{file, word(path, "%")}
	if s.take(key) {
		c, err = parseContent(s.before.values[key])
		return c, true, err
	}
	if !s.Record {
		err = s.unknown(path)
	}
	return c, false, err
}

// KeepFile writes down a file of this machine, and keeps its bytes, as another machine may have
// other ones.
func (s *Session) KeepFile(path string, c Content) error {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := s.Bodies.Create()
	if err != nil {
		return err
	}
	defer to.Close()
	if _, err := io.Copy(to, from); err != nil {
		return err
	}
	if kept, err := to.Finish(); err != nil || kept != c {
		return errors.Join(err, fmt.Errorf("%s changed while it was read", path))
	}
	return s.note(fact{file, word(path, "%")}, c.String())
}

// Path is where a body is.
func (b Bodies) Path(c Content) string { return b.name(c) }

// Tools are the programs that the lock names, with their versions.
func (f *File) Tools() map[string]string {
	tools := make(map[string]string)
	for about, value := range f.values {
		if about.kind == tool {
			tools[about.about] = value
		}
	}
	return tools
}

// HasTool tells whether the lock names a program.
func (s *Session) HasTool(name string) bool { return s.before.has(fact{tool, name}) }

// SetTool writes down the version of a program.
func (f *File) SetTool(name, version string) {
	version = strings.Join(strings.Fields(strings.TrimPrefix(version, name+" ")), " ")
	var plain strings.Builder
	for _, r := range version {
		if r < ' ' || r > '~' {
			r = '?'
		}
		plain.WriteRune(r)
	}
	f.set(fact{tool, name}, cmp.Or(plain.String(), "-"))
}

// OtherTools says which programs of this machine have other versions than those of a lock.
func (f *File) OtherTools(now *File) []string {
	var list []string
	have := now.Tools()
	for name, version := range f.Tools() {
		if is, ok := have[name]; ok && is != version {
			list = append(list, fmt.Sprintf("%s is %s here, %s in the lock", name, is, version))
		}
	}
	slices.Sort(list)
	return list
}

// A Result is a file that a build has made.
type Result struct {
	Name   string // its path below the target directory
	SHA256 string
}

// resultOf is what a line says that a file was made of.
func resultOf(name string, options []string) fact {
	words := []string{word(filepath.ToSlash(name), "%")}
	for _, o := range slices.Sorted(slices.Values(options)) {
		words = append(words, word(o, "%"))
	}
	return fact{result, strings.Join(words, " ")}
}

// Results are what a build with some options has made, sorted by name.
func (f *File) Results(options []string) []Result {
	var list []Result
	for about, value := range f.values {
		name, _, _ := strings.Cut(about.about, " ")
		if plain, err := url.PathUnescape(name); about.kind == result && err == nil && about == resultOf(plain, options) && filepath.IsLocal(plain) {
			list = append(list, Result{plain, strings.TrimPrefix(value, "sha256:")})
		}
	}
	slices.SortFunc(list, func(a, b Result) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// SetResult writes down what a build with some options has made.
func (f *File) SetResult(r Result, options []string) {
	f.set(resultOf(r.Name, options), "sha256:"+r.SHA256)
}

// Mirrors is a lock with nothing but the mirrors of another, which may be nil.
func (f *File) Mirrors() *File {
	only := new(File)
	if f != nil {
		for about, value := range f.values {
			if about.kind == mirror {
				only.set(about, value)
			}
		}
	}
	return only
}

// A Get is a line of a lock about a file that servers have.
type Get struct {
	URL string
	Content
}

// Gets are the files that servers have sent, sorted by their URLs.
func (f *File) Gets() []Get {
	var list []Get
	for about, value := range f.values {
		if about.kind == get {
			c, _ := parseContent(value) // it was read before
			list = append(list, Get{about.about, c})
		}
	}
	slices.SortFunc(list, func(a, b Get) int { return strings.Compare(a.URL, b.URL) })
	return list
}

// Sums are the SHA-256 of all that the lock has of the network.
func (s *Session) Sums() []string {
	var list []string
	for _, g := range s.before.Gets() {
		list = append(list, g.SHA256)
	}
	return list
}

// ContentOf is what a file of this machine holds.
func ContentOf(path string) (Content, error) {
	sum, size, err := digest.File(path)
	return Content{sum.String(), size}, err
}

// HasFile tells whether the lock has a file of another machine.
func (s *Session) HasFile(path string) bool { return s.before.has(fact{file, word(path, "%")}) }
