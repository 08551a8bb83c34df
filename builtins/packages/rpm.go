package packages

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"imagebuilder/builtins/dirfd"
)

// The database of rpm: a table of headers.

// Where distributions have it, and the formats that are not read.
var (
	rpmDirs   = []string{"/var/lib/rpm", "/usr/lib/sysimage/rpm"}
	rpmOthers = map[string]string{"Packages": "Berkeley DB", "Packages.db": "ndb"}
)

func readRPM(root *dirfd.Dir) ([]Package, error) {
	var found []Package
	seen := make(seenFiles) // one may be a link to the other
	for _, dir := range rpmDirs {
		for name, format := range rpmOthers {
			if st, err := root.Stat(dir + "/" + name); err == nil && st.Size > 0 {
				return nil, fmt.Errorf("%s/%s has the format of %s, of which only SQLite is read", dir, name, format)
			}
		}
		name := dir + "/rpmdb.sqlite"
		if seen.again(root, name) {
			continue
		}
		list, err := readRPMSQLite(root, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		found = append(found, list...)
	}
	return found, nil
}

func readRPMSQLite(root *dirfd.Dir, name string) ([]Package, error) {
	if st, err := root.Stat(name + "-wal"); err == nil && st.Size > 0 {
		return nil, errors.New("it was not closed: changes are left in its log")
	}
	file, size, done, err := openRegular(root, name)
	defer done()
	if file == nil || err != nil {
		return nil, err
	}
	db, err := openSQLite(file, size)
	if err != nil {
		return nil, err
	}
	var found []Package
	err = db.blobs("Packages", func(header []byte) error {
		p, err := parseRPM(header)
		if err == nil && p.Name != "gpg-pubkey" { // a key, which rpm keeps as if it were a package
			found = append(found, p)
		}
		return err
	})
	return found, err
}

// Tags of rpm's headers, of lib/rpmtag.h.
const (
	rpmName = 1000 + iota
	rpmVersion
	rpmRelease
	rpmEpoch
	rpmSummary
	rpmSize      = 1009
	rpmVendor    = 1011
	rpmLicense   = 1014
	rpmURL       = 1020
	rpmArch      = 1022
	rpmSourceRPM = 1044
	rpmLongSize  = 5009
)

// parseRPM reads the header of a package, as the database has it: counts of entries and bytes,
// the entries, the bytes.
func parseRPM(header []byte) (Package, error) {
	const entry = 16
	if len(header) < 8 {
		return Package{}, errDatabase
	}
	count, size := int64(binary.BigEndian.Uint32(header)), int64(binary.BigEndian.Uint32(header[4:]))
	if 8+entry*count+size > int64(len(header)) {
		return Package{}, errDatabase
	}
	index, data := header[8:8+entry*count], header[8+entry*count:]
	texts, numbers := make(map[uint32]string), make(map[uint32]int64)
	for ; len(index) > 0; index = index[entry:] {
		tag, kind, offset := binary.BigEndian.Uint32(index), binary.BigEndian.Uint32(index[4:]), binary.BigEndian.Uint32(index[8:])
		if int64(offset) > int64(len(data)) {
			return Package{}, errDatabase
		}
		switch value := data[offset:]; {
		case kind == 6 || kind == 8 || kind == 9: // a text, or the first of several
			text, _, ok := bytes.Cut(value, []byte{0})
			if !ok {
				return Package{}, errDatabase
			}
			if tag >= rpmName && tag <= rpmSourceRPM {
				texts[tag] = string(text)
			}
		case kind == 4 && len(value) >= 4:
			numbers[tag] = int64(binary.BigEndian.Uint32(value))
		case kind == 5 && len(value) >= 8:
			numbers[tag] = int64(binary.BigEndian.Uint64(value))
		}
	}
	p := Package{
		Manager: "rpm", Name: texts[rpmName], Version: texts[rpmVersion] + "-" + texts[rpmRelease], Arch: texts[rpmArch],
		Size: max(numbers[rpmSize], numbers[rpmLongSize], 0), License: texts[rpmLicense], Homepage: texts[rpmURL], Maintainer: texts[rpmVendor],
		Summary: texts[rpmSummary], Source: strings.TrimSuffix(texts[rpmSourceRPM], ".src.rpm"),
	}
	if epoch := numbers[rpmEpoch]; epoch > 0 {
		p.Version = fmt.Sprintf("%d:%s", epoch, p.Version)
	}
	if p.Name == "" {
		return p, errDatabase
	}
	return p, nil
}
