package boot

import (
	"errors"
	"io"
	"slices"
	"strings"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/printable"
)

// What a guest says on its serial console, as plain lines. Firmware and boot loaders draw
// menus there and overwrite what they have drawn, for a terminal: a line is complete here
// when the next one begins or the cursor goes elsewhere.

// errThere is how the run of a guest ends well.
var errThere = errors.New("the text is there")

// A sign is what a guest says that boots no further, and how people call that.
type sign struct {
	text, means string
	line        bool // it counts when its line is complete, which says why
}

func (s sign) Error() string { return s.means }

// signs are those of kernels, systemd, dracut, initramfs-tools, GRUB and EDK II, in the order
// in which they count.
var signs = []sign{
	{"Kernel panic - not syncing", "its kernel has panicked", true},
	{"emergency mode", "it has ended in emergency mode", false},
	{"(initramfs) ", "its initramfs has given up and started a shell", false},
	{"grub rescue>", "GRUB has not found its files and started its rescue shell", false},
	{"grub> ", "GRUB has found no configuration and started its shell", false},
	{"No bootable option or device was found", "the firmware has found nothing that it can start", false},
	{"Shell> ", "the firmware has found nothing that it can start but its shell", false},
}

// maxLine bounds a line in bytes: what is longer becomes several.
const maxLine = 1000

// A console reads what the guest says.
type console struct {
	out    io.Writer // gets complete lines; nil: nobody does
	expect string
	decide func(error) // is told once how the run ends: by errThere or a sign
	tail   host.Tail   // the last lines

	line    []byte // that is being written
	back    bool   // the cursor is at its beginning: what comes overwrites it
	escape  escape
	decided bool
}

// Write never fails: a guest is not to end since nobody can read what it says.
func (c *console) Write(p []byte) (int, error) {
	for _, b := range p {
		if c.decided {
			break
		}
		switch c.escape.next(b) {
		case plain:
			c.put(b)
		case moved:
			c.end()
		}
	}
	c.look(false)
	return len(p), nil
}

// put takes a byte that is no part of an escape sequence.
func (c *console) put(b byte) {
	switch {
	case b == '\n':
		c.end()
	case b == '\r':
		c.back = true
	case b == '\t' || b >= ' ' && b != 0x7f:
		if c.back && c.look(true) {
			return
		}
		if c.back {
			c.line, c.back = c.line[:0], false
		}
		c.line = append(c.line, b)
		if len(c.line) == maxLine {
			c.end()
		}
	}
}

// end ends the line. Empty ones are left out.
func (c *console) end() {
	if c.look(true) {
		return
	}
	if len(c.line) > 0 {
		c.show()
	}
	c.back = false
}

func (c *console) show() {
	line := printable.Text(string(c.line)) + "\n"
	io.WriteString(&c.tail, line)
	if c.out != nil {
		io.WriteString(c.out, line)
	}
	c.line = c.line[:0]
}

// look decides by what is in the line, which may be complete, and tells whether that has
// happened. The line then remains for flush.
func (c *console) look(complete bool) (decided bool) {
	if c.decided {
		return true
	}
	line := string(c.line)
	end := errThere
	if !strings.Contains(line, c.expect) {
		i := slices.IndexFunc(signs, func(s sign) bool { return (complete || !s.line) && strings.Contains(line, s.text) })
		if i < 0 {
			return false
		}
		end = signs[i]
	}
	c.decided = true
	c.decide(end)
	return true
}

// flush shows the line that was not completed. Nothing is written after that.
func (c *console) flush() {
	if len(c.line) > 0 {
		c.show()
	}
}

// An escape goes through escape sequences, byte by byte; see ECMA-48, 5.3 to 5.6.
type escape struct {
	in     part
	length int // of a control string
}

type part int

const (
	outside  part = iota
	begun         // ESC has come
	sequence      // a control sequence, CSI
	text          // a control string: OSC, DCS, SOS, PM, APC
	ending        // ESC has come in a control string
)

// What a byte is.
type meaning int

const (
	plain  meaning = iota // itself
	nought                // part of an escape sequence
	moved                 // the end of one that moves the cursor to another line, or clears the screen
)

// maxString bounds a control string, so that one without an end does not swallow all.
const maxString = 4096

func (e *escape) next(b byte) meaning {
	const esc, bell = 0x1b, 0x07
	switch e.in {
	case outside:
		if b != esc {
			return plain
		}
		e.in = begun
	case begun:
		switch {
		case b == esc, b >= ' ' && b <= '/': // an intermediate byte: the last is to come
		case b == '[':
			e.in = sequence
		case strings.IndexByte("]PX^_", b) >= 0:
			e.in, e.length = text, 0
		case b < ' ':
			e.in = outside
			return plain
		default:
			e.in = outside
		}
	case sequence:
		switch {
		case b >= '@' && b <= '~':
			e.in = outside
			if strings.IndexByte("ABEFHJdf", b) >= 0 {
				return moved
			}
		case b == esc:
			e.in = begun
		case b < ' ' || b > '~': // a broken one
			e.in = outside
			return plain
		}
	case text:
		e.length++
		switch {
		case b == esc:
			e.in = ending
		case b == bell, e.length > maxString:
			e.in = outside
		}
	case ending:
		e.in = text
		if b == '\\' {
			e.in = outside
		}
	}
	return nought
}
