package squashfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/xattr"
)

// Extended attributes. The format has three kinds; access control lists are not among them.
var attributeKinds = []string{"user.", "trusted.", "security."}

// attributes are those of a tree. Equal lists are kept once.
type attributes struct {
	of    map[uint32]uint32 // node to list
	ids   map[string]uint32 // the list as it is stored
	lists []attributeList
	size  int // of all lists
}

type attributeList struct {
	text  string
	at    int // among all lists
	count uint32
	size  uint32 // of full names, ends and values
}

// read reads the attributes of a node and tells whether some are lost.
func (a *attributes) read(file string, node uint32) (lost bool, err error) {
	names, err := xattr.List(file)
	if err != nil || len(names) == 0 {
		return false, attributeError(err)
	}
	var text []byte
	var l attributeList
	for _, name := range names {
		kind, rest := kindOf(name)
		if kind < 0 {
			lost = true
			continue
		}
		value, err := xattr.Get(file, name)
		if errors.Is(err, unix.ENODATA) { // it was there a moment ago
			err = ErrChanged
		}
		if err != nil {
			return lost, attributeError(err)
		}
		text = binary.LittleEndian.AppendUint16(text, uint16(kind))
		text = binary.LittleEndian.AppendUint16(text, uint16(len(rest)))
		text = append(text, rest...)
		text = binary.LittleEndian.AppendUint32(text, uint32(len(value)))
		text = append(text, value...)
		l.count++
		l.size += uint32(len(name) + 1 + len(value))
	}
	if l.count == 0 {
		return lost, nil
	}
	id, ok := a.ids[string(text)]
	if !ok {
		id = uint32(len(a.lists))
		l.text, l.at = string(text), a.size
		a.ids[l.text], a.lists, a.size = id, append(a.lists, l), a.size+len(text)
	}
	a.of[node] = id
	return lost, nil
}

func attributeError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("its extended attributes: %w", cause(err))
}

func kindOf(name string) (kind int, rest string) {
	for kind, prefix := range attributeKinds {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			return kind, rest
		}
	}
	return -1, ""
}
