package packages

import (
	"encoding/binary"
	"errors"
	"io"
)

// The database that rpm calls ndb, as openSUSE has it: slots that say where the headers of packages
// are, in blocks of 16 bytes. See https://github.com/rpm-software-management/rpm/blob/master/lib/backend/ndb/rpmpkg.c.

const (
	ndbBlock    = 16
	ndbPage     = 4096
	ndbMaxPages = 2048
)

// ndbBlobs visits the headers of a database.
func ndbBlobs(file io.ReaderAt, size int64, visit func([]byte) error) error {
	head := make([]byte, 2*ndbBlock)
	if _, err := file.ReadAt(head, 0); err != nil || string(head[:4]) != "RpmP" {
		return errors.New("it is no database of ndb")
	}
	if binary.LittleEndian.Uint32(head[4:]) != 0 {
		return errors.New("it has a version that nobody knows")
	}
	pages := int64(binary.LittleEndian.Uint32(head[12:]))
	if pages < 1 || pages > ndbMaxPages || pages*ndbPage > size {
		return errDatabase
	}
	slots := make([]byte, pages*ndbPage)
	if _, err := file.ReadAt(slots, 0); err != nil {
		return err
	}
	for slots = slots[len(head):]; len(slots) > 0; slots = slots[ndbBlock:] {
		if string(slots[:4]) != "Slot" {
			return errDatabase
		}
		pkg := binary.LittleEndian.Uint32(slots[4:])
		if pkg == 0 {
			continue // it is free
		}
		blob, err := ndbBlob(file, size, pkg, ndbBlock*int64(binary.LittleEndian.Uint32(slots[8:])))
		if err == nil {
			err = visit(blob)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ndbBlob returns what is at an offset: a header of a block, and the bytes of a package.
func ndbBlob(file io.ReaderAt, size int64, pkg uint32, at int64) ([]byte, error) {
	head := make([]byte, ndbBlock)
	if at > size-ndbBlock {
		return nil, errDatabase
	}
	if _, err := file.ReadAt(head, at); err != nil {
		return nil, err
	}
	length := int64(binary.LittleEndian.Uint32(head[12:]))
	if string(head[:4]) != "BlkS" || binary.LittleEndian.Uint32(head[4:]) != pkg || length > maxBlob || length > size-at-ndbBlock {
		return nil, errDatabase
	}
	blob := make([]byte, length)
	_, err := file.ReadAt(blob, at+ndbBlock)
	return blob, err
}
