package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"
)

// Lines that are typed at a terminal: edited, completed, and remembered for the next time.

// A lineEditor reads lines from a terminal, which is in raw mode only meanwhile: what is
// evaluated between them can be interrupted as any program.
type lineEditor struct {
	fd       int
	keys     *keys
	terminal *term.Terminal
}

// newLineEditor returns the editor of a terminal, whose descriptor is fd. complete returns what
// a word can go on to.
func newLineEditor(fd int, in io.Reader, out io.Writer, lines *history, complete func(begun string) []string) *lineEditor {
	e := &lineEditor{fd: fd, keys: &keys{in: in}}
	e.terminal = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{e.keys, out}, "")
	e.terminal.History = lines
	e.terminal.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) {
		if key != '\t' {
			return "", 0, false
		}
		added, choices := completion(line[:pos], complete)
		if len(choices) > 0 {
			fmt.Fprintln(e.terminal, strings.Join(choices, "  "))
		}
		return line[:pos] + added + line[pos:], pos + len(added), true
	}
	return e
}

// completion returns what Tab adds behind a text, or, if that is nothing, the choices.
func completion(text string, complete func(begun string) []string) (added string, choices []string) {
	begun := text[strings.LastIndexFunc(text, func(c rune) bool {
		return c != '_' && c != '.' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	})+1:]
	if begun == "" {
		return "    ", nil // as at the begin of a line in a block
	}
	found := complete(begun)
	if len(found) == 0 {
		return "", nil
	}
	shared := found[0]
	for _, name := range found[1:] {
		for !strings.HasPrefix(name, shared) {
			shared = shared[:len(shared)-1]
		}
	}
	if added = shared[len(begun):]; added == "" && len(found) > 1 {
		choices = found
	}
	return added, choices
}

// readLine reads a line; io.EOF: there are no more; errInterrupted: it was given up.
func (e *lineEditor) readLine(prompt string) (string, error) {
	state, err := term.MakeRaw(e.fd)
	if err != nil {
		return "", err
	}
	defer term.Restore(e.fd, state)
	if width, height, err := term.GetSize(e.fd); err == nil && width > 0 { // 0: it is not known
		e.terminal.SetSize(width, height)
	}
	return e.edit(prompt)
}

// edit is readLine on a terminal in raw mode.
func (e *lineEditor) edit(prompt string) (string, error) {
	e.terminal.SetPrompt(prompt)
	e.keys.interrupted = false
	line, err := e.terminal.ReadLine()
	if err == term.ErrPasteIndicator {
		err = nil
	}
	if e.keys.interrupted {
		return "", errInterrupted
	}
	return line, err
}

// keys are what is typed, a line at a time, whatever is typed ahead. To the terminal, Ctrl-C
// would be the end of all lines: it gets the keys that empty the line and end it.
type keys struct {
	in          io.Reader
	typed       []byte // what is not handed out
	next        []byte // the rest of what is being handed out
	interrupted bool   // Ctrl-C was handed out
}

const (
	ctrlC     = 3
	emptyLine = "\x05\x15\r" // Ctrl-E, Ctrl-U, Enter
)

func (k *keys) Read(p []byte) (int, error) {
	if len(k.next) == 0 {
		if len(k.typed) == 0 {
			buffer := make([]byte, 256)
			n, err := k.in.Read(buffer)
			if n == 0 {
				return 0, err
			}
			k.typed = buffer[:n]
		}
		end := bytes.IndexAny(k.typed, "\r\n\x03") + 1
		if end == 0 {
			end = len(k.typed)
		}
		k.next, k.typed = k.typed[:end:end], k.typed[end:]
		if k.next[end-1] == ctrlC {
			k.next = append(k.next[:end-1], emptyLine...)
			k.interrupted = true
		}
	}
	n := copy(p, k.next)
	k.next = k.next[n:]
	return n, nil
}

// A history are lines that were typed, the oldest first, and the file that keeps them.
type history struct {
	lines []string
	file  string
}

// maxHistory is how many lines are brought back.
const maxHistory = 1000

// historyFile is where the history is kept; "": nowhere.
func historyFile() string {
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "imagebuilder", "history")
}

// openHistory reads a history. Without its file there is none, but that of the session.
func openHistory(file string) *history {
	h := &history{file: file}
	in, err := os.Open(file)
	if err != nil {
		return h
	}
	defer in.Close()
	for lines := bufio.NewScanner(in); lines.Scan(); {
		h.lines = append(h.lines, lines.Text())
	}
	h.lines = h.lines[max(0, len(h.lines)-maxHistory):]
	return h
}

func (h *history) Len() int { return len(h.lines) }

// At returns a line, the last for 0.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }

// Add adds a line unless it is empty or the last once more. That the file cannot be written is
// no reason to trouble anybody.
func (h *history) Add(line string) {
	if strings.TrimSpace(line) == "" || len(h.lines) > 0 && h.At(0) == line {
		return
	}
	h.lines = append(h.lines, line)
	if h.file == "" || os.MkdirAll(filepath.Dir(h.file), 0o700) != nil {
		return
	}
	out, err := os.OpenFile(h.file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer out.Close()
	fmt.Fprintln(out, line)
}
