package packages

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// As much of https://www.sqlite.org/fileformat2.html as it takes to read the blobs of one table:
// a library for all of it would be a fifth of this program.

// Bounds of what is believed.
const (
	maxBlob  = 64 << 20
	maxDepth = 20
)

var errDatabase = errors.New("the database is damaged")

// A sqlite is an open database.
type sqlite struct {
	file   io.ReaderAt
	page   int64 // bytes
	usable int64 // of a page
	pages  int64
	left   int64 // how many pages may still be read: none is needed twice
}

func openSQLite(file io.ReaderAt, size int64) (*sqlite, error) {
	head := make([]byte, 100)
	if _, err := file.ReadAt(head, 0); err != nil || string(head[:16]) != "SQLite format 3\x00" {
		return nil, errors.New("it is no database of SQLite")
	}
	db := &sqlite{file: file, page: int64(binary.BigEndian.Uint16(head[16:]))}
	if db.page == 1 {
		db.page = 65536
	}
	db.usable = db.page - int64(head[20])
	if db.page < 512 || db.page&(db.page-1) != 0 || db.usable < 480 {
		return nil, errDatabase
	}
	db.pages = size / db.page
	db.left = 2 * db.pages
	return db, nil
}

// blobs visits the last column of each row of a table.
func (db *sqlite) blobs(table string, visit func([]byte) error) error {
	root := int64(0)
	err := db.rows(1, maxDepth, func(record []byte) error {
		columns, err := columnsOf(record)
		if err != nil || len(columns) < 4 {
			return err
		}
		if string(columns[0]) == "table" && string(columns[1]) == table {
			for _, b := range columns[3] {
				root = root<<8 | int64(b)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if root == 0 {
		return fmt.Errorf("it has no table %s", table)
	}
	return db.rows(root, maxDepth, func(record []byte) error {
		columns, err := columnsOf(record)
		if err != nil || len(columns) == 0 {
			return err
		}
		return visit(columns[len(columns)-1])
	})
}

// read returns a page.
func (db *sqlite) read(n int64) ([]byte, error) {
	if db.left--; n < 1 || n > db.pages || db.left < 0 {
		return nil, errDatabase
	}
	data := make([]byte, db.page)
	_, err := db.file.ReadAt(data, (n-1)*db.page)
	return data, err
}

// rows visits the records of the B-tree of a table, from its page.
func (db *sqlite) rows(n int64, depth int, visit func([]byte) error) error {
	data, err := db.read(n)
	if err != nil {
		return err
	}
	head := data
	if n == 1 {
		head = data[100:]
	}
	cells, pointers := int(binary.BigEndian.Uint16(head[3:])), head[8:]
	inner := head[0] == 5
	if inner {
		pointers = head[12:]
	}
	if !inner && head[0] != 13 || depth == 0 || len(pointers) < 2*cells {
		return errDatabase
	}
	for i := range cells {
		at := int64(binary.BigEndian.Uint16(pointers[2*i:]))
		if at+4 > int64(len(data)) {
			return errDatabase
		}
		if inner {
			err = db.rows(int64(binary.BigEndian.Uint32(data[at:])), depth-1, visit)
		} else {
			var record []byte
			if record, err = db.payload(data[at:]); err == nil {
				err = visit(record)
			}
		}
		if err != nil {
			return err
		}
	}
	if inner {
		return db.rows(int64(binary.BigEndian.Uint32(head[8:])), depth-1, visit)
	}
	return nil
}

// payload returns the record of a cell, with what of it is on other pages.
func (db *sqlite) payload(cell []byte) ([]byte, error) {
	size, n := varint(cell)
	_, m := varint(cell[n:]) // the number of the row
	cell = cell[n+m:]
	if n == 0 || m == 0 || size < 0 || size > maxBlob {
		return nil, errDatabase
	}
	local := size
	if most := db.usable - 35; size > most {
		least := (db.usable-12)*32/255 - 23
		if local = least + (size-least)%(db.usable-4); local > most {
			local = least
		}
	}
	if local > int64(len(cell)) {
		return nil, errDatabase
	}
	record := append([]byte{}, cell[:local]...)
	if local == size {
		return record, nil
	}
	if int64(len(cell)) < local+4 {
		return nil, errDatabase
	}
	next := int64(binary.BigEndian.Uint32(cell[local:]))
	for int64(len(record)) < size {
		page, err := db.read(next)
		if err != nil {
			return nil, err
		}
		next = int64(binary.BigEndian.Uint32(page))
		record = append(record, page[4:min(db.usable, 4+size-int64(len(record)))]...)
	}
	return record, nil
}

// columnsOf returns the values of a record as bytes: numbers as they are stored, big-endian.
func columnsOf(record []byte) ([][]byte, error) {
	head, n := varint(record)
	if n == 0 || head < int64(n) || head > int64(len(record)) {
		return nil, errDatabase
	}
	types, body := record[n:head], record[head:]
	var columns [][]byte
	for len(types) > 0 {
		kind, n := varint(types)
		if n == 0 {
			return nil, errDatabase
		}
		types = types[n:]
		size := int64(0)
		switch {
		case kind >= 12:
			size = (kind - 12) / 2
		case kind >= 1 && kind <= 7:
			size = []int64{0, 1, 2, 3, 4, 6, 8, 8}[kind]
		}
		if size < 0 || size > int64(len(body)) {
			return nil, errDatabase
		}
		columns, body = append(columns, body[:size]), body[size:]
	}
	return columns, nil
}

// varint reads a number of one to nine bytes; n is 0 if there is none.
func varint(data []byte) (v int64, n int) {
	for n < len(data) && n < 8 {
		b := data[n]
		n++
		v = v<<7 | int64(b&0x7f)
		if b < 0x80 {
			return v, n
		}
	}
	if n < len(data) {
		return v<<8 | int64(data[n]), n + 1
	}
	return 0, 0
}
