package whole_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"imagebuilder/streams/imagetree"
	"imagebuilder/streams/whole"
)

// put returns text with a big-endian number at an offset of it.
func put(text string, offset int, value uint64) string {
	data := []byte(text)
	binary.BigEndian.PutUint64(data[offset:], value)
	return string(data)
}

var formats = map[string]func(text string) error{
	"squashfs": func(text string) error { return whole.Squashfs(strings.NewReader(text), int64(len(text))) },
	"qcow2":    func(text string) error { return whole.Qcow2(strings.NewReader(text), int64(len(text))) },
	"disk":     func(text string) error { return whole.Disk(strings.NewReader(text)) },
	"tar":      func(text string) error { return whole.Tar(strings.NewReader(text)) },
}

func TestWhole(t *testing.T) {
	squashfs, qcow2 := imagetree.Squashfs("root file system"), imagetree.Qcow2(strings.Repeat("a disk", 200))
	archive := string(imagetree.Tar(map[string]string{"etc/": "", "etc/hostname": "x"}))
	version3 := put(qcow2, 0, 0x514649fb00000003)
	zeros := strings.Repeat("\x00", 1<<20)
	tests := []struct {
		summary, format, text string
		err                   string
	}{
		{"a squashfs", "squashfs", squashfs, ""},
		{"padded, as mksquashfs leaves it", "squashfs", squashfs + zeros[:100], ""},
		{"without its end", "squashfs", squashfs[:len(squashfs)-1], "it is cut off: it has 143 of at least 144 bytes"},
		{"half a superblock", "squashfs", squashfs[:50], "it is cut off: it has 50 of at least 96 bytes"},
		{"nothing but a beginning", "squashfs", "hsqs" + zeros[:200], "its superblock is damaged"},
		{"zeros where the end should be", "squashfs", squashfs[:100] + zeros[:len(squashfs)-100], "its table of owners is damaged"},
		{"a qcow2 disk", "qcow2", qcow2, ""},
		{"of version 3", "qcow2", version3, ""},
		{"without its end", "qcow2", qcow2[:len(qcow2)-512], "it is cut off: it has 3072 of at least 3584 bytes"},
		{"without its tables", "qcow2", qcow2[:1024], "it is cut off: it has 1024 of at least 1032 bytes"},
		{"without its tables of the second level", "qcow2", qcow2[:1100], "it is cut off: it has 1100 of at least 2048 bytes"},
		{"half a header", "qcow2", qcow2[:50], "it is cut off: it has 50 of at least 72 bytes"},
		{"nothing but a beginning", "qcow2", "QFI\xfb" + zeros[:200], "it is qcow2 of version 0, not 2 or 3"},
		{"a table that is too small for the disk", "qcow2", put(qcow2, 24, 1<<40), "its header is damaged"},
		{"a backing file", "qcow2", put(qcow2, 8, 200), "it has a backing file, without which it is no disk; convert it to one file"},
		{"data elsewhere", "qcow2", put(version3, 72, 1<<2), "its data are in another file; convert it to one file"},
		{"marked as damaged", "qcow2", put(version3, 72, 1<<1), "it is marked as damaged"},
		{"a compressed cluster outside", "qcow2", put(qcow2, 3*512, 1<<62|1<<61|3500), "it is cut off: it has 3584 of at least 3585 bytes"},
		{"a raw disk", "disk", zeros[:510] + "\x55\xaa", ""},
		{"a disk of zeros", "disk", zeros, "it begins with nothing but zeros"},
		{"an empty disk", "disk", "", "it begins with nothing but zeros"},
		{"an archive", "tar", archive, ""},
		{"with a record's padding", "tar", archive + zeros[:8192], ""},
		{"without its end", "tar", archive[:len(archive)-1024], "it is cut off: the end of the archive is missing"},
		{"cut off in a file", "tar", archive[:len(archive)-1024-512], "unexpected EOF"},
		{"zeros", "tar", zeros, "there is nothing in it"},
		{"an empty file", "tar", "", "there is nothing in it"},
	}
	for _, test := range tests {
		t.Run(test.format+", "+test.summary, func(t *testing.T) {
			got := ""
			if err := formats[test.format](test.text); err != nil {
				got = err.Error()
			}
			if got != test.err {
				t.Errorf("got %q, want %q", got, test.err)
			}
		})
	}
}

// The holes of a sparse file are not read: they may be without end.
func TestTarSparse(t *testing.T) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	const segments = "1\n0\n1\n"
	data := segments + strings.Repeat("\x00", 512-len(segments)) + "x"
	w.WriteHeader(&tar.Header{Name: "GNUSparseFile.0/hole", Typeflag: tar.TypeReg, Size: int64(len(data)), Format: tar.FormatPAX})
	w.Write([]byte(data))
	w.Close()
	pax := paxRecord("GNU.sparse.major", "1") + paxRecord("GNU.sparse.minor", "0") + paxRecord("GNU.sparse.realsize", "9000000000000000")
	head := new(bytes.Buffer)
	x := tar.NewWriter(head)
	x.WriteHeader(&tar.Header{Name: "x", Typeflag: tar.TypeReg, Size: int64(len(pax)), Format: tar.FormatUSTAR})
	x.Write([]byte(pax))
	x.Flush()
	record := head.Bytes()
	setType(record, 'x')
	if err := whole.Tar(bytes.NewReader(append(record, out.Bytes()...))); err != nil {
		t.Error(err)
	}
}

func FuzzWhole(f *testing.F) {
	f.Add([]byte(imagetree.Squashfs("x")))
	f.Add([]byte(imagetree.Qcow2("x")))
	f.Add(imagetree.Tar(map[string]string{"x": "y"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, check := range formats {
			check(string(data)) // no input is a danger
		}
	})
}

// paxRecord returns a record of an extended header.
func paxRecord(key, value string) string {
	for n := len(key) + len(value) + 3; ; n++ {
		if text := fmt.Sprintf("%d %s=%s\n", n, key, value); len(text) == n {
			return text
		}
	}
}

// setType makes a header one of another type.
func setType(header []byte, kind byte) {
	header[156] = kind
	copy(header[148:156], "        ")
	sum := 0
	for _, b := range header[:512] {
		sum += int(b)
	}
	copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
}
