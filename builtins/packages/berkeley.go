package packages

import (
	"encoding/binary"
	"errors"
	"io"
)

// As much of a hash of Berkeley DB as it takes to read the values that rpm keeps there: see
// https://github.com/berkeleydb/libdb/blob/v5.3.28/src/dbinc/db_page.h. No library was found that
// takes no harm from a database that means it.

const (
	berkeleyMagic  = 0x061561
	berkeleyHeader = 26 // bytes of each page before its items

	// Types of pages.
	berkeleyUnsorted = 2 // of items of a hash, as in RHEL 5
	berkeleyOverflow = 7
	berkeleyHash     = 13

	berkeleyLarge = 3 // type of an item that is on pages of its own
)

// A berkeley is an open database.
type berkeley struct {
	file  io.ReaderAt
	order binary.ByteOrder // of whoever has made it
	page  int64            // bytes
	pages int64
	left  int64 // how many pages may still be read: none is needed twice
}

func openBerkeley(file io.ReaderAt, size int64) (*berkeley, error) {
	head := make([]byte, 512)
	if _, err := file.ReadAt(head, 0); err != nil {
		return nil, errors.New("it is no database of Berkeley DB")
	}
	db := &berkeley{file: file, order: binary.LittleEndian}
	if db.order.Uint32(head[12:]) != berkeleyMagic {
		db.order = binary.BigEndian
	}
	if db.order.Uint32(head[12:]) != berkeleyMagic {
		return nil, errors.New("it is no hash of Berkeley DB")
	}
	db.page = int64(db.order.Uint32(head[20:]))
	if db.page < 512 || db.page > 64<<10 || db.page&(db.page-1) != 0 {
		return nil, errDatabase
	}
	db.pages = size / db.page
	if last := int64(db.order.Uint32(head[32:])); last >= db.pages {
		return nil, errors.New("it is cut off")
	}
	db.left = 2 * db.pages
	return db, nil
}

// blobs visits the values that are on pages of their own, as those of all packages are.
func (db *berkeley) blobs(visit func([]byte) error) error {
	for n := range db.pages {
		page, err := db.read(n)
		if err != nil {
			return err
		}
		if kind := page[25]; kind != berkeleyHash && kind != berkeleyUnsorted {
			continue
		}
		items := int64(db.order.Uint16(page[20:]))
		if berkeleyHeader+2*items > db.page {
			return errDatabase
		}
		for i := int64(1); i < items; i += 2 { // each key stands before its value
			at := int64(db.order.Uint16(page[berkeleyHeader+2*i:]))
			if at >= db.page {
				return errDatabase
			}
			if page[at] != berkeleyLarge {
				continue // what is small is the number that the next package gets
			}
			if at+12 > db.page {
				return errDatabase
			}
			blob, err := db.large(int64(db.order.Uint32(page[at+4:])), int64(db.order.Uint32(page[at+8:])))
			if err == nil {
				err = visit(blob)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// large returns a value that begins on a page and goes on on others.
func (db *berkeley) large(n, size int64) ([]byte, error) {
	if size > maxBlob {
		return nil, errDatabase
	}
	var blob []byte
	for int64(len(blob)) < size {
		page, err := db.read(n)
		if err != nil {
			return nil, err
		}
		used := int64(db.order.Uint16(page[22:]))
		if page[25] != berkeleyOverflow || used == 0 || berkeleyHeader+used > db.page {
			return nil, errDatabase
		}
		blob = append(blob, page[berkeleyHeader:berkeleyHeader+used]...)
		n = int64(db.order.Uint32(page[16:]))
	}
	return blob[:size], nil
}

func (db *berkeley) read(n int64) ([]byte, error) {
	if db.left--; n >= db.pages || db.left < 0 {
		return nil, errDatabase
	}
	page := make([]byte, db.page)
	_, err := db.file.ReadAt(page, n*db.page)
	return page, err
}
