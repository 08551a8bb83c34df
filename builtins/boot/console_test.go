package boot

import (
	"strings"
	"testing"
	"unicode"
)

// read hands the console pieces of what a guest says.
func read(expect string, pieces ...string) (lines string, end error) {
	var out strings.Builder
	c := &console{out: &out, expect: expect, decide: func(err error) { end = err }}
	for _, p := range pieces {
		c.Write([]byte(p))
	}
	c.flush()
	return out.String(), end
}

func TestConsole(t *testing.T) {
	tests := []struct {
		summary string
		pieces  []string
		lines   string
		end     string // "": nothing has decided
	}{
		{"a prompt without the end of a line", []string{"Debian 12\r\n\r\nhost login: "}, "Debian 12\nhost login: \n", "the text is there"},
		{"in two pieces", []string{"host lo", "gin:"}, "host login:\n", "the text is there"},
		{"not over two lines", []string{"host lo\r\ngin:"}, "host lo\ngin:\n", ""},
		{"colours", []string{"[\x1b[0;32m  OK  \x1b[0m] host \x1b[1mlogin\x1b[0m:"}, "[  OK  ] host login:\n", "the text is there"},
		{"nothing after it", []string{"login:", "Kernel panic - not syncing"}, "login:\n", "the text is there"},
		{"in a line that is overwritten", []string{"login:\rpassword"}, "login:\n", "the text is there"},
		{"what is overwritten is gone", []string{"job (1s)\rjob (2s)\r\x1b[Kjob (3s)\r\nx\n"}, "job (3s)\nx\n", ""},
		{"the cursor moves", []string{"\x1b[2J\x1b[01;01Hone\x1b[10;01Htwo\x1b[=3h three"}, "one\ntwo three\n", ""},
		{"control strings", []string{"a\x1b]0;title\x07b\x1bP+q544e\x1b\\c\x1b(Bd\x1b7e"}, "abcde\n", ""},
		{"a sequence in pieces", []string{"a\x1b", "[1", ";31", "mb"}, "ab\n", ""},
		{"a broken sequence", []string{"a\x1b[1;\nb\x1b\nc"}, "a\nb\nc\n", ""},
		{"a control string without an end", []string{"a\x1b]" + strings.Repeat("x", maxString) + "xyz"}, "ayz\n", ""},
		{"what no terminal should get", []string{"a\x00\x07\x08b\xff\u009bc\n"}, `ab\xff\u009bc` + "\n", ""},
		{"a line without an end", []string{strings.Repeat("x", 2*maxLine+1)}, strings.Repeat(strings.Repeat("x", maxLine)+"\n", 2) + "x\n", ""},
		{"a panic", []string{"[1.0] Kernel panic - not syncing: VFS: Unable to mount root fs\n[2.0]"},
			"[1.0] Kernel panic - not syncing: VFS: Unable to mount root fs\n", "its kernel has panicked"},
		{"a panic in pieces", []string{"Kernel panic - not syncing", ": no in", "it\r\nx"}, "Kernel panic - not syncing: no init\n", "its kernel has panicked"},
		{"systemd gives up", []string{"You are in emergency mode. After logging in,"}, "You are in emergency mode. After logging in,\n", "it has ended in emergency mode"},
		{"dracut gives up", []string{"Entering emergency mode. Exit the shell to continue.\n"}, "Entering emergency mode. Exit the shell to continue.\n", "it has ended in emergency mode"},
		{"emergency mode by name alone", []string{"emergency.target - Emergency Mode\n"}, "emergency.target - Emergency Mode\n", ""},
		{"initramfs-tools give up", []string{"(initramfs) "}, "(initramfs) \n", "its initramfs has given up and started a shell"},
		{"GRUB without files", []string{"grub rescue> "}, "grub rescue> \n", "GRUB has not found its files and started its rescue shell"},
		{"GRUB without configuration", []string{"\x1b[4;1Hgrub> "}, "grub> \n", "GRUB has found no configuration and started its shell"},
		{"no loader", []string{"\x1b[1m\x1b[33mShell> \x1b[0m"}, "Shell> \n", "the firmware has found nothing that it can start but its shell"},
		{"no signed loader", []string{"BdsDxe: No bootable option or device was found.\r\n"}, "BdsDxe: No bootable option or device was found.\n",
			"the firmware has found nothing that it can start"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			lines, end := read("login:", test.pieces...)
			text := ""
			if end != nil {
				text = end.Error()
			}
			if lines != test.lines || text != test.end {
				t.Errorf("got %q, %q\nwant %q, %q", lines, text, test.lines, test.end)
			}
		})
	}
}

// Nothing that a guest says reaches a terminal but as text, however it comes in pieces.
func FuzzConsole(f *testing.F) {
	for _, s := range []string{"a\x1b[1;31mb\r\n", "\x1b]0;t\x07x\x1bP1\x1b\\y", "job\rjob\r\x1b[K\n", "\x1b[2J\x1b[1;1H", "\x1b\x1b[\x1b", "\xff\u009b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		whole, end := read("\x00", text)
		for _, line := range strings.Split(whole, "\n") {
			if strings.ContainsFunc(line, func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' }) {
				t.Errorf("%q", line)
			}
		}
		if end != nil {
			return
		}
		if single, end := read("\x00", strings.Split(text, "")...); end == nil && single != whole {
			t.Errorf("in pieces:\n%q\nas a whole:\n%q", single, whole)
		}
	})
}
