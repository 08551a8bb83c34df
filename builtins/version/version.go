// Package version orders the names of releases, and of files that have one in their name.
// It knows no scheme of any distribution: what it goes by is what all schemes share, that
// numbers grow and that a release candidate comes before its release.
package version

import (
	"cmp"
	"strings"
)

// Compare returns a number below, of or above 0 if a is older than b, the same, or newer.
// Names are compared piece by piece:
//
//   - numbers as numbers, however long: 1.10 is newer than 1.9, Build1.10 than Build1.2;
//   - what stands behind a tilde, and the words dev, alpha, beta, pre, preview and rc, with
//     or without a separator in front, are before everything, the end of the name among it:
//     1.0~x, 1.0-beta1 and 1.0rc2 are older than 1.0 and than 1.0.tar.gz;
//   - a version that goes on is newer than one that has ended: 1.2.1 than 1.2, 1.2-1 than 1.2,
//     1.2-1.iso than 1.2.iso, 1.2a.iso than 1.2.iso.
//
// No two different texts are the same: where all pieces are alike, as of 1.01 and 1.1, the
// bytes decide.
func Compare(a, b string) int {
	restA, restB := a, b
	for restA != "" || restB != "" {
		var x, y piece
		x, restA = next(restA)
		y, restB = next(restB)
		if c := x.compare(y); c != 0 {
			return c
		}
	}
	return cmp.Compare(a, b)
}

// A piece is a number or a word, with the separators in front of it.
type piece struct {
	kind      kind
	separator string
	word      string
	rank      int // of words that come before a release
}

// A kind says how new a name is with such a piece where another has another one.
type kind int

const (
	tilde    kind = iota // behind ~
	early                // a word that comes before a release
	end                  // of the name
	part                 // a word behind a separator, such as a file extension or an architecture
	revision             // a number behind any other separator than a point
	suffix               // a word right behind a number
	number               // one behind a point, or right behind a word
)

// early words in their order.
var earlyWords = map[string]int{"dev": 0, "alpha": 1, "beta": 2, "pre": 3, "preview": 3, "rc": 4}

// next splits the first piece from a name.
func next(name string) (piece, string) {
	if name == "" {
		return piece{kind: end}, ""
	}
	start := span(name, func(c byte) bool { return !isDigit(c) && !isLetter(c) })
	p := piece{separator: name[:start]}
	rest := name[start:]
	digits := rest != "" && isDigit(rest[0])
	length := span(rest, isLetter)
	if digits {
		length = span(rest, isDigit)
	}
	p.word = rest[:length]
	rank, isEarly := earlyWords[strings.ToLower(p.word)]
	switch {
	case strings.HasPrefix(p.separator, "~"):
		p.kind = tilde
	case isEarly:
		p.kind, p.rank, p.separator = early, rank, ""
	case digits && (p.separator == "" || p.separator == "."):
		p.kind = number
	case digits:
		p.kind = revision
	case p.separator == "":
		p.kind = suffix
	default:
		p.kind = part
	}
	return p, rest[length:]
}

func (p piece) compare(q piece) int {
	if c := cmp.Or(cmp.Compare(p.kind, q.kind), cmp.Compare(p.rank, q.rank), cmp.Compare(p.separator, q.separator)); c != 0 {
		return c
	}
	if p.kind == early { // "pre" and "preview" are one
		return 0
	}
	if p.word == "" || q.word == "" || !isDigit(p.word[0]) || !isDigit(q.word[0]) {
		return cmp.Compare(p.word, q.word)
	}
	x, y := strings.TrimLeft(p.word, "0"), strings.TrimLeft(q.word, "0")
	return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
}

func span(s string, in func(byte) bool) int {
	n := 0
	for n < len(s) && in(s[n]) {
		n++
	}
	return n
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isLetter counts all bytes of characters beyond ASCII among the letters.
func isLetter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80 }
