package sandbox

import (
	"bytes"
	"io"
	"path"
	"slices"
)

// Secrets: the files, and what programs write of them.

// secretFiles are the files of the secrets. They are on the tmpfs of /run, which no layer has.
func (spec *Spec) secretFiles() []Guest {
	var guests []Guest
	for _, s := range spec.Secrets {
		guests = append(guests, Guest{Path: path.Join(SecretsDir, s.Name), Content: s.Content, Mode: 0o400, Over: true})
	}
	return guests
}

// minHidden is the shortest line that is hidden: shorter ones are part of too much else.
const minHidden = 4

// hiddenLines are the lines of secrets that are hidden, the longest first, since one may be a
// part of another.
func hiddenLines(secrets []Secret) [][]byte {
	var lines [][]byte
	for _, s := range secrets {
		for line := range bytes.Lines(s.Content) {
			if line = bytes.TrimSpace(line); len(line) >= minHidden {
				lines = append(lines, line)
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b []byte) int { return len(b) - len(a) })
	return lines
}

// maxHeld is how much of a line that has not ended is held back.
const maxHeld = 64 << 10

// A masker hides texts, none of which has a line end, in what it passes on: stars take their
// place. It passes on whole lines, since a text may come in parts.
type masker struct {
	w      io.Writer
	hidden [][]byte // the longest first
	held   []byte
}

func (m *masker) Write(p []byte) (int, error) {
	if len(m.hidden) == 0 {
		return m.w.Write(p)
	}
	m.held = append(m.held, p...)
	end := bytes.LastIndexAny(m.held, "\r\n") + 1
	if end == 0 && len(m.held) > maxHeld {
		end = m.before(len(m.held) - len(m.hidden[0])) // what may be the begin of one stays
	}
	return len(p), m.pass(end)
}

// before returns the last place, from one on backwards, that is inside of no text.
func (m *masker) before(end int) int {
	for _, text := range m.hidden {
		from := max(end-len(text)+1, 0)
		if to := min(end+len(text)-1, len(m.held)); end > 0 && from < to {
			if i := bytes.Index(m.held[from:to], text); i >= 0 {
				return m.before(from + i)
			}
		}
	}
	return max(end, 0)
}

// pass passes so many bytes on, with no text in them.
func (m *masker) pass(end int) error {
	if end == 0 {
		return nil
	}
	clear := m.held[:end:end]
	for _, text := range m.hidden {
		clear = bytes.ReplaceAll(clear, text, []byte("***"))
	}
	m.held = m.held[end:]
	_, err := m.w.Write(clear)
	return err
}

// flush passes on what is held back when all has been written.
func (m *masker) flush() { m.pass(len(m.held)) }
