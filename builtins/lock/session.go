package lock

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/problems"
)

// A Session is what a lock says in one run, which either adds to it or has no other network.
// Its methods may be called by several goroutines.
type Session struct {
	Name   string // the lock's file
	Dir    string // that of the recipe, an absolute path; "": it has none
	Record bool   // what the lock does not say is asked for and written down; else it is an error
	Bodies Bodies

	mu     sync.Mutex
	before *File           // what holds whatever servers say
	now    *File           // what they have said in this run
	tools  map[string]bool // programs of this machine that take part
	used   map[fact]bool   // what the run has asked for
	dates  [2]time.Time    // the newest that an index bears, that a server gives a file
	broken error           // why the run must end, once it is known
}

// Open begins a session with what a lock says.
func Open(name string, f *File, bodies Bodies, record bool) *Session {
	return &Session{Name: name, Record: record, Bodies: bodies, before: f, now: new(File), used: make(map[fact]bool)}
}

// Digest is that of the lock as it was when the session began, whatever the order of its lines.
func (s *Session) Digest() digest.Digest { return digest.Sum(s.before.Bytes()) }

// An Answer is what is known of a URL.
type Answer struct {
	Gone    bool // there is nothing
	Content      // else
}

// ErrUnknown is the cause where a lock does not have what is asked for.
var ErrUnknown = errors.New("it is not in the lock")

// ErrChanged is the cause where a server has given two answers to one question.
var ErrChanged = errors.New("the archive changed while it was read; run it again")

// unknown says that a URL is not in the lock.
func (s *Session) unknown(rawURL string) error {
	return fmt.Errorf("%w %s; 'imagebuilder lock' with the same options adds it", ErrUnknown, s.Name)
}

// Answer is what the lock says of a URL. Where ok is false while it is recorded, the server is to be
// asked.
func (s *Session) Answer(rawURL string) (a Answer, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := about(rawURL)
	if s.take(fact{gone, u}) {
		return Answer{Gone: true}, true, nil
	}
	if key := (fact{get, u}); s.take(key) {
		a.Content, err = parseContent(s.before.values[key])
		return a, true, err
	}
	if !s.Record {
		err = s.unknown(rawURL)
	}
	return a, false, err
}

// take tells whether the lock says something, and that it was asked for.
func (s *Session) take(key fact) bool {
	s.used[key] = true
	return s.before.has(key)
}

// Head is what the lock says of a file whose bytes nobody needs: its size, -1 if that is not known.
func (s *Session) Head(rawURL string) (size int64, a Answer, ok bool, err error) {
	s.mu.Lock()
	key := fact{head, about(rawURL)}
	known := s.take(key)
	value := s.before.values[key]
	s.mu.Unlock()
	if !known {
		a, ok, err = s.Answer(rawURL)
		return a.Size, a, ok, err
	}
	if value == "-" {
		return -1, Answer{}, true, nil
	}
	size, err = strconv.ParseInt(value, 10, 64)
	return size, Answer{}, true, err
}

// Moved is where a URL leads to.
func (s *Session) Moved(rawURL string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := fact{moved, about(rawURL)}
	if s.take(key) {
		return s.before.values[key]
	}
	return rawURL
}

// Got writes down what a server has sent, of which there is a body, and when it says that this was
// modified; "": it does not say.
func (s *Session) Got(rawURL string, c Content, modified string) error {
	if err := s.note(fact{get, about(rawURL)}, c.String()); err != nil {
		return err
	}
	s.date(rawURL, c, modified)
	return nil
}

// NotThere writes down that a server has nothing.
func (s *Session) NotThere(rawURL string) error { return s.note(fact{gone, about(rawURL)}, "") }

// Seen writes down that a server has something, of a size, -1 if it does not say that.
func (s *Session) Seen(rawURL string, size int64) error {
	text := "-"
	if size >= 0 {
		text = fmt.Sprint(size)
	}
	return s.note(fact{head, about(rawURL)}, text)
}

// LedTo writes down where a URL has led to, without what is only good for a moment.
func (s *Session) LedTo(rawURL, to string) {
	from, end := about(rawURL), about(to)
	if !strings.Contains(from, "?") {
		end, _, _ = strings.Cut(end, "?")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if key := (fact{moved, from}); from != end && !s.before.has(key) {
		s.used[key] = true
		s.now.set(key, end)
	}
}

// note writes down what was answered. Another answer than before ends the run: what it makes of
// both would be of no state of the archive.
func (s *Session) note(key fact, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used[key] = true
	if s.before.has(key) {
		return nil // the answer is the lock's own
	}
	if before, twice := s.now.values[key]; twice && before != value || s.now.contradicts(key) {
		s.broken = fmt.Errorf("%s: %w", key.about, ErrChanged)
		return ErrChanged
	}
	if s.before.contradicts(key) {
		s.broken = fmt.Errorf("%s: %s says something else of it: lock anew with --update", key.about, s.Name)
		return s.broken
	}
	s.now.set(key, value)
	return nil
}

// Knows is the error of a lock that says nothing of what is below a URL.
func (s *Session) Knows(rawURL string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	below := about(rawURL)
	for key := range s.before.values {
		if (key.kind == get || key.kind == gone) && strings.HasPrefix(key.about, below) {
			return nil
		}
	}
	return s.unknown(rawURL)
}

// Gets are the files that the lock has of servers.
func (s *Session) Gets() []Get { return s.before.Gets() }

// Asked tells whether a server was asked for a URL in this run, and what it has sent.
func (s *Session) Asked(rawURL string) (c Content, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok := s.now.values[fact{get, about(rawURL)}]
	if ok {
		c, _ = parseContent(value)
	}
	return c, ok
}

// Err is why nothing that the run makes counts; nil: it does.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// Wire is the digest of all that the lock has of the network, "" while it is recorded.
func (s *Session) Wire() string {
	if s.Record {
		return ""
	}
	return s.before.Wire()
}

// Places are the URLs that may serve what a URL has served, itself first.
func (s *Session) Places(rawURL string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.before.Places(rawURL)
}

// Places are the URLs that may serve what a URL has served, itself first.
func (f *File) Places(rawURL string) []string {
	places := []string{rawURL}
	for _, key := range slices.SortedFunc(maps.Keys(f.values), func(a, b fact) int { return strings.Compare(a.about, b.about) }) {
		if key.kind != mirror {
			continue
		}
		from, to, _ := strings.Cut(key.about, " ")
		if rest, ok := strings.CutPrefix(about(rawURL), from); ok && (rest == "" || strings.HasSuffix(from, "/") || rest[0] == '/') {
			places = append(places, to+rest)
		}
	}
	return places
}

// Lost is the error where no place serves what the lock has of a URL.
func (s *Session) Lost(causes []error) error {
	err := problems.Join(causes...)
	return fmt.Errorf("%w; what %s has of it is nowhere: name a snapshot of the archive by a line 'mirror PREFIX PREFIX', or lock anew with --update", err, s.Name)
}

// Merged is the lock with what the run has added. only says that what it has not asked for goes.
func (s *Session) Merged(only bool) *File {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := new(File)
	for _, f := range []*File{s.before, s.now} {
		for key, value := range f.values {
			switch key.kind {
			case get, gone, head, moved, file:
				if only && !s.used[key] {
					continue
				}
			}
			all.set(key, value)
		}
	}
	s.dated(all)
	return all
}

// Found is the content of the answers of this run that were not in the lock before.
func (s *Session) Found() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.now.values)
}

// about is a URL as a lock writes it: without what is secret in it, and what never goes to a
// server.
func about(rawURL string) string {
	if u, err := url.Parse(rawURL); err == nil {
		u.User, u.Fragment, u.RawFragment = nil, "", ""
		rawURL = u.String()
	}
	return word(rawURL, "")
}

// Use notes that a program of this machine takes part.
func (s *Session) Use(program string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tools == nil {
		s.tools = make(map[string]bool)
	}
	s.tools[program] = true
}

// Used are the programs of this machine that take part, sorted.
func (s *Session) Used() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.tools))
}
