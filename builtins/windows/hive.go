package windows

import (
	"errors"
	"io"
	"strings"
)

// Hives, as far as a number in one is looked up, which is not worth a program that reads all of
// it: the format is that of "Windows registry file format specification" by Maxim Suhanov. All
// else is left to hivexregedit.

// A hive is a file of the registry.
type hive struct{ r io.ReaderAt }

// What is looked at at most: how many keys, and how many bytes of a cell.
const (
	maxSubkeys = 1 << 16
	maxCell    = 1 << 20
)

// cell returns what is in a cell, from an offset that counts from behind the header.
func (h hive) cell(offset uint32, least int) ([]byte, error) {
	const header = 4096
	var head [4]byte
	if _, err := h.r.ReadAt(head[:], int64(offset)+header); err != nil {
		return nil, damaged("it ends before a cell: %v", err)
	}
	size := -int64(int32(le.Uint32(head[:]))) // negative: it is in use
	if size < int64(4+least) || size > maxCell {
		return nil, damaged("it has a cell of %d bytes", size)
	}
	b := make([]byte, size-4)
	if _, err := h.r.ReadAt(b, int64(offset)+header+4); err != nil {
		return nil, damaged("it ends in a cell: %v", err)
	}
	return b, nil
}

// root returns the key that all others are in.
func (h hive) root() ([]byte, error) {
	var head [40]byte
	if _, err := h.r.ReadAt(head[:], 0); err != nil || string(head[:4]) != "regf" {
		return nil, damaged("it does not begin as a part of a registry does")
	}
	return h.key(le.Uint32(head[36:]))
}

// key returns a key node.
func (h hive) key(offset uint32) ([]byte, error) {
	b, err := h.cell(offset, 76)
	if err == nil && string(b[:2]) != "nk" {
		err = damaged("it has a broken key")
	}
	return b, err
}

// subkey returns a key of a key; nil: there is none.
func (h hive) subkey(key []byte, name string) ([]byte, error) {
	if le.Uint32(key[20:]) == 0 {
		return nil, nil
	}
	lists, left := []uint32{le.Uint32(key[28:])}, maxSubkeys
	for len(lists) > 0 {
		b, err := h.cell(lists[0], 4)
		if err != nil {
			return nil, err
		}
		lists = lists[1:]
		size := map[string]int{"lf": 8, "lh": 8, "li": 4, "ri": 4}[string(b[:2])]
		count := int(le.Uint16(b[2:]))
		if left -= count + 1; size == 0 || 4+count*size > len(b) || left < 0 {
			return nil, damaged("it has a broken list of keys")
		}
		for i := range count {
			offset := le.Uint32(b[4+i*size:])
			if string(b[:2]) == "ri" { // a list of lists
				lists = append(lists, offset)
				continue
			}
			found, err := h.key(offset)
			if err != nil {
				return nil, err
			}
			if called(found[76:], le.Uint16(found[72:]), name) {
				return found, nil
			}
		}
	}
	return nil, nil
}

// called tells whether a name is the one, which is in ASCII, as those that are asked for are
// where it is kept in bytes.
func called(b []byte, length uint16, name string) bool {
	return int(length) <= len(b) && strings.EqualFold(string(b[:length]), name)
}

// number returns a value of a key that is a REG_DWORD.
func (h hive) number(key []byte, name string) (uint32, bool, error) {
	count := le.Uint32(key[36:])
	if count == 0 || count > maxSubkeys {
		return 0, false, nil
	}
	list, err := h.cell(le.Uint32(key[40:]), 4*int(count))
	if err != nil {
		return 0, false, err
	}
	for i := range int(count) {
		v, err := h.cell(le.Uint32(list[4*i:]), 20)
		if err != nil {
			return 0, false, err
		}
		// Four bytes and less stand in place of where they are, as the highest bit says.
		if string(v[:2]) == "vk" && called(v[20:], le.Uint16(v[2:]), name) && le.Uint32(v[4:]) == 1<<31|4 && le.Uint32(v[12:]) == Types["REG_DWORD"] {
			return le.Uint32(v[8:]), true, nil
		}
	}
	return 0, false, nil
}

// currentControlSet reads the number of the control set that Windows starts with.
func currentControlSet(r io.ReaderAt) (int, error) {
	h := hive{r}
	key, err := h.root()
	if err != nil {
		return 0, err
	}
	if key, err = h.subkey(key, "Select"); err != nil {
		return 0, err
	}
	if key != nil {
		n, ok, err := h.number(key, "Current")
		if err != nil || ok && n > 0 && n < 1000 {
			return int(n), err
		}
	}
	return 0, errors.New("its key Select does not say which control set is current: it is no such part of a registry")
}
