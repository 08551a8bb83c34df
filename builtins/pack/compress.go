// Package pack turns a root file system into the files of an image: squashfs, tar
// archives and their metadata, compressed. Programs of the host do the bulk of it;
// what they may see and touch is the business of package sandbox.
package pack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"

	"imagebuilder/builtins/host"
)

// A Compression is a method and a level, -1 for the method's own default.
type Compression struct {
	Method string
	Level  int
}

// method is what is known of one compression method.
type method struct {
	tar      levels
	squashfs levels
	program  string // compresses a stream; empty: none is needed
	suffix   string // of the compressed file
	args     func(level int) []string
}

// levels are the levels a method takes in one use.
type levels struct {
	ok       bool // it can be used at all
	min, max int  // both 0: no level can be given
}

var methods = map[string]method{
	"bzip2": {tar: levels{true, 1, 9}, program: "bzip2", suffix: ".bz2"},
	"gzip":  {tar: levels{true, 1, 9}, squashfs: levels{true, 1, 9}, program: "gzip", suffix: ".gz", args: untimed},
	"lz4":   {tar: levels{ok: true}, squashfs: levels{ok: true}}, // LXD takes no tar archive of it: they stay as they are
	"lzip":  {tar: levels{true, 0, 9}, program: "lzip", suffix: ".lz"},
	"lzma":  {tar: levels{true, 0, 9}, squashfs: levels{ok: true}, program: "lzma", suffix: ".lzma", args: threads},
	"lzo":   {tar: levels{true, 1, 9}, squashfs: levels{true, 1, 9}, program: "lzop", suffix: ".lzo"},
	"none":  {tar: levels{ok: true}, squashfs: levels{ok: true}},
	"xz":    {tar: levels{true, 0, 9}, squashfs: levels{true, 0, 9}, program: "xz", suffix: ".xz", args: threads},
	"zstd":  {tar: levels{true, 1, 22}, squashfs: levels{true, 1, 22}, program: "zstd", suffix: ".zst", args: zstdArgs},
}

// threads makes a program use all processors.
func threads(int) []string { return []string{"--threads=0"} }

// zstdArgs opens the levels above 19, which take much memory, as well.
func zstdArgs(level int) []string {
	if level > 19 {
		return []string{"--ultra", "--threads=0"}
	}
	return threads(level)
}

var withLevel = regexp.MustCompile(`^(\w+)-(\d{1,2})$`)

// untimed keeps name and time of a file out of what gzip makes of it.
func untimed(int) []string { return []string{"-n"} }

// ParseCompression reads METHOD or METHOD-LEVEL. The methods are bzip2, gzip, lz4,
// lzip, lzma, lzo (or lzop), none, xz and zstd.
func ParseCompression(text string) (Compression, error) {
	c := Compression{Method: text, Level: -1}
	if m := withLevel.FindStringSubmatch(text); m != nil {
		c.Method = m[1]
		c.Level, _ = strconv.Atoi(m[2])
	}
	if c.Method == "lzop" {
		c.Method = "lzo"
	}
	if _, ok := methods[c.Method]; !ok {
		return c, fmt.Errorf("unknown compression %q; known are %s", text, Methods())
	}
	return c, nil
}

// Methods lists the methods, for people.
func Methods() string { return strings.Join(MethodNames(), ", ") }

// MethodNames are the methods of compression, in order.
func MethodNames() []string {
	var names []string
	for name := range methods {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// Default is how things are compressed where nobody says how.
var Default = Compression{Method: "xz", Level: -1}

// Set reads what ParseCompression does.
func (c *Compression) Set(text string) (err error) {
	*c, err = ParseCompression(text)
	return err
}

// Type says in the help of a flag what its value is.
func (c *Compression) Type() string { return "method" }

func (c Compression) String() string {
	if c.Level < 0 {
		return c.Method
	}
	return fmt.Sprintf("%s-%d", c.Method, c.Level)
}

// CheckTar finds what is wrong with compressing a tar archive like this.
func (c Compression) CheckTar() error { return c.check("a tar archive", methods[c.Method].tar) }

func (c Compression) check(what string, l levels) error {
	switch {
	case !l.ok:
		return fmt.Errorf("the compression %s cannot be used for %s", c.Method, what)
	case c.Level < 0:
		return nil
	case l.max == 0:
		return fmt.Errorf("the compression %s of %s takes no level", c.Method, what)
	case c.Level < l.min || c.Level > l.max:
		return fmt.Errorf("the compression %s of %s takes a level from %d to %d, not %d", c.Method, what, l.min, l.max, c.Level)
	}
	return nil
}

// Squashfs returns the compression to use inside a squashfs image. There lzma takes no
// level: one that is given is left out.
func (c Compression) Squashfs() (Compression, error) {
	if c.Method == "lzma" {
		c.Level = -1
	}
	return c, c.check("a squashfs image", methods[c.Method].squashfs)
}

// Suffix is what the name of a file compressed like this ends in: ".xz", or nothing.
func (c Compression) Suffix() string { return methods[c.Method].suffix }

// Program is the program of the host that compresses, or nothing.
func (c Compression) Program() string { return methods[c.Method].program }

// CompressFile compresses a file in a directory of the host into another and removes it.
func (c Compression) CompressFile(ctx context.Context, dir, from, to string, epoch host.Epoch) (err error) {
	in, err := os.Open(filepath.Join(dir, from))
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(filepath.Join(dir, to))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := (host.Command{Args: c.command(), Stdin: in, Stdout: out}).Run(ctx); err != nil {
		return fmt.Errorf("cannot compress %s: %w", to, err)
	}
	return errors.Join(c.date(filepath.Join(dir, to), epoch), os.Remove(filepath.Join(dir, from)))
}

// date takes the time of day out of a file that was compressed, if there is an epoch instead.
func (c Compression) date(name string, epoch host.Epoch) error {
	if c.Method != "lzo" || epoch == "" {
		return nil
	}
	if err := dateLzop(name, epoch.Clock()()); err != nil {
		return fmt.Errorf("cannot set the time in %s: %w", filepath.Base(name), err)
	}
	return nil
}

// command is the command line that compresses standard input to standard output.
func (c Compression) command() []string {
	m := methods[c.Method]
	args := []string{m.program}
	if c.Level >= 0 {
		args = append(args, fmt.Sprintf("-%d", c.Level))
	}
	if m.args != nil {
		args = append(args, m.args(c.Level)...)
	}
	return args
}
