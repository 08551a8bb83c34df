package streams

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"imagebuilder/builtins/host"
)

// A squashfs image is read without unpacking it, by anyone: unsquashfs writes it as a "pseudo
// file", a list of all entries followed by the content of the files in the same order. See
// "Pseudo file definition format" in the README of squashfs-tools 4.5.

// eachSquashed goes through the entries of a squashfs image, parents first.
func eachSquashed(ctx context.Context, f *os.File, fn func(*tar.Header, io.Reader) error) error {
	attributes, err := hasAttributes(f)
	if err != nil {
		return err
	}
	out, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		args := []string{"unsquashfs", "-n", "-q", "-pf", "/dev/stdout", "/dev/fd/3"}
		w.CloseWithError(host.Command{Args: args, Stdout: w, Files: []*os.File{f}}.Run(ctx))
	}()
	defer func() {
		out.Close() // the program ends, since nobody reads it any more
		<-done
	}()
	in := bufio.NewReaderSize(out, 64<<10)
	list, err := readPseudo(in)
	if err != nil {
		return err
	}
	if attributes && !list.attributes {
		return errors.New("this unsquashfs does not tell extended attributes; version 4.6 does")
	}
	for _, h := range list.entries {
		if err := fn(h, io.LimitReader(in, h.Size)); err != nil {
			return err
		}
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// hasAttributes tells whether an image has a table of extended attributes, by its superblock.
func hasAttributes(f *os.File) (bool, error) {
	const table, none = 56, ^uint64(0)
	start := make([]byte, 8)
	if _, err := f.ReadAt(start, table); err != nil {
		return false, fmt.Errorf("cannot read the superblock: %w", err)
	}
	return binary.LittleEndian.Uint64(start) != none, nil
}

// A pseudoList is what stands before the content of the files.
type pseudoList struct {
	entries    []*tar.Header
	attributes bool // some entry has extended ones

	byName map[string]*tar.Header
	data   int64 // bytes of content so far
}

// readPseudo reads the list up to the content.
func readPseudo(r *bufio.Reader) (*pseudoList, error) {
	list := &pseudoList{byName: make(map[string]*tar.Header)}
	for {
		name, err := pseudoName(r)
		if err == io.EOF && name == "" {
			return list, nil // there are no files with content
		}
		if err != nil {
			return nil, pseudoError(err)
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, pseudoError(err)
		}
		line = strings.TrimSuffix(line, "\n")
		if name == "#\n#" && line == "START OF DATA - DO NOT MODIFY" {
			_, err := r.Discard(len("#\n"))
			return list, pseudoError(err)
		}
		if err := list.add(name, line); err != nil {
			return nil, fmt.Errorf("cannot understand unsquashfs on %q: %w", name, err)
		}
	}
}

func pseudoError(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// pseudoName reads a name, in which blanks, quotes and backslashes have a backslash before them
// and nothing else has.
func pseudoName(r *bufio.Reader) (string, error) {
	var name []byte
	for {
		c, err := r.ReadByte()
		if err == nil && c == ' ' {
			return string(name), nil
		}
		if err == nil && c == '\\' {
			c, err = r.ReadByte()
		}
		if err != nil {
			return string(name), err
		}
		name = append(name, c)
	}
}

// types of entries in the list, but for named pipes and sockets, which share one.
var pseudoTypes = map[string]byte{
	"D": tar.TypeDir, "R": tar.TypeReg, "S": tar.TypeSymlink, "C": tar.TypeChar, "B": tar.TypeBlock, "I": tar.TypeFifo, "L": tar.TypeLink,
}

// add takes note of a line: a letter for the type and what belongs to it.
func (l *pseudoList) add(name, line string) error {
	kind, rest, _ := strings.Cut(line, " ")
	if kind == "x" {
		return l.addAttribute(name, rest)
	}
	typeflag, ok := pseudoTypes[kind]
	if !ok {
		return fmt.Errorf("the type %q is not known", kind)
	}
	h := &tar.Header{Name: name, Typeflag: typeflag}
	if typeflag == tar.TypeLink {
		target, err := pseudoName(bufio.NewReader(strings.NewReader(rest + " ")))
		was := l.byName[target]
		if err != nil || was == nil {
			return fmt.Errorf("it is a link to %q, which is not there", rest)
		}
		h.Linkname, h.Mode, h.Uid, h.Gid, h.ModTime = target, was.Mode, was.Uid, was.Gid, was.ModTime
		l.entries = append(l.entries, h)
		return nil
	}
	fields := strings.SplitN(rest, " ", 5) // time, mode, owner, group and what depends on the type
	if len(fields) < 4 {
		return errors.New("it has too few fields")
	}
	number := func(s string, base int) int64 {
		n, err := strconv.ParseInt(s, base, 64)
		ok = ok && err == nil && n >= 0
		return n
	}
	h.ModTime, h.Mode = time.Unix(number(fields[0], 10), 0), number(fields[1], 8)
	h.Uid, h.Gid = int(number(fields[2], 10)), int(number(fields[3], 10))
	more := strings.Fields(strings.Join(fields[4:], ""))
	switch {
	case kind == "S":
		h.Linkname = strings.Join(fields[4:], "")
		ok = ok && h.Linkname != ""
	case kind == "I" && len(more) == 1:
		if more[0] == "s" {
			return nil // no archive has sockets
		}
	case (kind == "C" || kind == "B") && len(more) == 2:
		h.Devmajor, h.Devminor = number(more[0], 10), number(more[1], 10)
	case kind == "R" && len(more) >= 2:
		h.Size = number(more[0], 10)
		ok = ok && (h.Size == 0 || number(more[1], 10) == l.data) // their content follows in the same order
		l.data += h.Size
	case kind != "D":
		ok = false
	}
	if !ok {
		return fmt.Errorf("the fields %q", rest)
	}
	l.byName[path.Clean(name)] = h
	l.entries = append(l.entries, h)
	return nil
}

// addAttribute adds an extended attribute, NAME=VALUE, to an entry.
func (l *pseudoList) addAttribute(name, attribute string) error {
	h := l.byName[path.Clean(name)]
	key, text, found := strings.Cut(attribute, "=")
	if h == nil || !found {
		return fmt.Errorf("the extended attribute %q", attribute)
	}
	value, err := attributeValue(text)
	if err != nil {
		return fmt.Errorf("the extended attribute %s: %w", key, err)
	}
	if h.PAXRecords == nil {
		h.PAXRecords = make(map[string]string)
	}
	h.PAXRecords["SCHILY.xattr."+key] = value
	l.attributes = true
	return nil
}

// attributeValue decodes a value: 0s and base64, 0x and hexadecimal, 0t and text with octal
// numbers after backslashes, or just text.
func attributeValue(text string) (string, error) {
	if len(text) < 2 || text[0] != '0' {
		return text, nil
	}
	rest := text[2:]
	switch text[1] {
	case 's', 'S':
		value, err := base64.StdEncoding.DecodeString(rest)
		return string(value), err
	case 'x', 'X':
		value, err := hex.DecodeString(rest)
		return string(value), err
	case 't', 'T':
		var value bytes.Buffer
		for rest != "" {
			n, err := strconv.ParseUint(rest[min(1, len(rest)):min(4, len(rest))], 8, 8)
			switch {
			case rest[0] != '\\':
				value.WriteByte(rest[0])
				rest = rest[1:]
			case len(rest) >= 4 && err == nil:
				value.WriteByte(byte(n))
				rest = rest[4:]
			default:
				return "", fmt.Errorf("%q is no octal number", rest)
			}
		}
		return value.String(), nil
	}
	return text, nil
}
