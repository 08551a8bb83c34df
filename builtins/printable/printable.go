// Package printable makes text that others have written harmless on a terminal: names of
// files, answers of servers, output of programs, values of recipes. Nothing in it then moves
// the cursor, colours the screen or passes for something else. What is kept or handed to
// programs is not for this package: it would be another text.
package printable

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line escapes all that is not printed as itself, line breaks among it.
func Line(s string) string { return escape(s, "") }

// Text is Line for text of several lines: it leaves line breaks and tabs.
func Text(s string) string { return escape(s, "\n\t") }

func escape(s, kept string) string {
	var out strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case strings.ContainsRune(kept, r) && r != utf8.RuneError, unicode.IsPrint(r) && (r != utf8.RuneError || n > 1):
			out.WriteString(s[:n])
		default:
			quoted := strconv.Quote(s[:n])
			out.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[n:]
	}
	return out.String()
}
