package packages

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The database of rpm: headers of packages, kept in one of three ways.

// Where distributions have it.
var rpmDirs = []string{"/var/lib/rpm", "/usr/lib/sysimage/rpm"}

// rpmFiles are the ways, by the name of the file.
var rpmFiles = []struct {
	name  string
	blobs func(file io.ReaderAt, size int64, visit func([]byte) error) error
}{
	{"rpmdb.sqlite", func(file io.ReaderAt, size int64, visit func([]byte) error) error {
		db, err := openSQLite(file, size)
		if err != nil {
			return err
		}
		return db.blobs("Packages", visit)
	}},
	{"Packages", func(file io.ReaderAt, size int64, visit func([]byte) error) error {
		db, err := openBerkeley(file, size)
		if err != nil {
			return err
		}
		return db.blobs(visit)
	}},
	{"Packages.db", ndbBlobs},
}

func (r *reader) rpm() error {
	for _, dir := range rpmDirs {
		for _, way := range rpmFiles {
			name := dir + "/" + way.name
			if r.seen.again(r.root, name) { // one directory may be a link to the other
				continue
			}
			if err := r.rpmFile(name, way.blobs); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

func (r *reader) rpmFile(name string, blobs func(file io.ReaderAt, size int64, visit func([]byte) error) error) error {
	if st, err := r.root.Stat(name + "-wal"); err == nil && st.Size > 0 {
		return errors.New("it was not closed: changes are left in its log")
	}
	file, size, done, err := openRegular(r.root, name)
	defer done()
	if file == nil || err != nil {
		return err
	}
	if size > maxRead {
		return errors.New("it is too large")
	}
	return blobs(file, size, r.addRPM)
}

// addRPM adds the package of a header.
func (r *reader) addRPM(header []byte) error {
	if r.left -= int64(len(header)); r.left < 0 {
		return errors.New("it is too large")
	}
	p, err := parseRPM(header)
	if err != nil || p.Name == "gpg-pubkey" { // a key, which rpm keeps as if it were a package
		return err
	}
	return r.add("rpm", p)
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
		Name: texts[rpmName], Version: texts[rpmVersion] + "-" + texts[rpmRelease], Arch: texts[rpmArch],
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
