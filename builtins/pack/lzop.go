package pack

import (
	"encoding/binary"
	"errors"
	"hash/adler32"
	"hash/crc32"
	"io"
	"os"
	"time"
)

// lzop writes the time of day into what it compresses from a stream, whatever it is told. Its
// header is, in big-endian numbers: a magic, three versions, method, level, flags, a filter if
// the flags say so, the mode of a file, the two halves of its time, a name, and a checksum of
// all that but the magic.

const (
	lzopMagic = "\x89LZO\x00\r\n\x1a\n"

	lzopFilter = 0x0800 // flags
	lzopCRC32  = 0x1000

	maxLzopHeader = 9 + 25 + 4 + 255 + 4
)

var errLzop = errors.New("its header is not one of lzop")

// dateLzop changes the time in the header of a file that lzop has written.
func dateLzop(name string, at time.Time) (err error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	header := make([]byte, maxLzopHeader)
	n, err := f.ReadAt(header, 0)
	if err != nil && err != io.EOF {
		return err
	}
	header = header[:n]
	if err := dateLzopHeader(header, at); err != nil {
		return err
	}
	_, err = f.WriteAt(header, 0)
	return err
}

// dateLzopHeader changes the time in what begins with a header.
func dateLzopHeader(file []byte, at time.Time) error {
	const flagsAt = 17
	if len(file) < flagsAt+4 || string(file[:len(lzopMagic)]) != lzopMagic || binary.BigEndian.Uint16(file[9:]) < 0x0940 {
		return errLzop // or of a version before that of 1997, which has no such fields
	}
	flags := binary.BigEndian.Uint32(file[flagsAt:])
	timeAt := flagsAt + 8
	if flags&lzopFilter != 0 {
		timeAt += 4
	}
	nameAt := timeAt + 8
	if len(file) <= nameAt || len(file) < nameAt+1+int(file[nameAt])+4 {
		return errLzop
	}
	sumAt := nameAt + 1 + int(file[nameAt])
	sum := adler32.Checksum
	if flags&lzopCRC32 != 0 {
		sum = crc32.ChecksumIEEE
	}
	if sum(file[len(lzopMagic):sumAt]) != binary.BigEndian.Uint32(file[sumAt:]) {
		return errLzop
	}
	seconds := uint64(at.Unix())
	binary.BigEndian.PutUint32(file[timeAt:], uint32(seconds))
	binary.BigEndian.PutUint32(file[timeAt+4:], uint32(seconds>>32))
	binary.BigEndian.PutUint32(file[sumAt:], sum(file[len(lzopMagic):sumAt]))
	return nil
}
