package pack

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/adler32"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"imagebuilder/builtins/host"
)

// hostile are variables by which compressors take options, and what would follow.
var hostile = map[string]string{
	"XZ_OPT": "--check=none -0", "XZ_DEFAULTS": "--check=sha256", "GZIP": "-1 -N", "BZIP2": "-1", "BZIP": "-1",
	"LZIP": "-0", "LZOP": "-1 --crc32", "ZSTD_CLEVEL": "1", "ZSTD_NBTHREADS": "1", "LZ4_CLEVEL": "1",
}

// Whatever the environment of the caller says, and whenever it is, what is compressed is the same.
// What there is of the time of day in a file is what is not the epoch's: none is looked for in
// another way.
func TestCompressionRepeats(t *testing.T) {
	const epoch = host.Epoch("1700000000")
	content := noise(1, 1<<20)
	for _, method := range MethodNames() {
		c := Compression{method, -1}
		if c.Program() == "" {
			continue
		}
		if _, err := exec.LookPath(c.Program()); err != nil {
			t.Logf("%s is left out: %s is not installed", method, c.Program())
			continue
		}
		t.Run(method, func(t *testing.T) {
			var at int64 // the time of the file that is compressed
			compressed := func() (archive, file []byte) {
				t.Helper()
				dir := t.TempDir()
				files := []archiveFile{{"content", content}}
				if err := writeArchive(context.Background(), filepath.Join(dir, "archive"), files, time.Unix(5, 0), c, epoch); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "plain"), content, 0o600); err != nil {
					t.Fatal(err)
				}
				at += 100
				if err := os.Chtimes(filepath.Join(dir, "plain"), time.Unix(at, 0), time.Unix(at, 0)); err != nil {
					t.Fatal(err)
				}
				if err := c.CompressFile(context.Background(), dir, "plain", "file", epoch); err != nil {
					t.Fatal(err)
				}
				return read(t, method, filepath.Join(dir, "archive")), read(t, method, filepath.Join(dir, "file"))
			}
			archive, file := compressed()
			for name, value := range hostile {
				t.Setenv(name, value)
			}
			if method == "lzo" { // of any time of day
				for _, data := range [][]byte{archive, file} {
					if got := binary.BigEndian.Uint32(data[25:]); got != 1700000000 {
						t.Errorf("the time is %d", got)
					}
				}
			}
			archive2, file2 := compressed()
			if !bytes.Equal(archive, archive2) {
				t.Error("two archives differ")
			}
			if !bytes.Equal(file, file2) {
				t.Error("two files differ")
			}
		})
	}
}

// read returns a file, which must be sound.
func read(t *testing.T, method, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(methods[method].program, "-dc")
	cmd.Stdin = bytes.NewReader(data)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) < 1<<20 {
		t.Errorf("%s is not sound: %v, %d bytes", name, err, len(out))
	}
	return data
}

// lzopHeader is one of version 1.04 with a name.
func lzopHeader(flags uint32, name string) []byte {
	b := append([]byte(lzopMagic), 0x10, 0x40, 0x20, 0xa0, 0x09, 0x40, 1, 5)
	b = binary.BigEndian.AppendUint32(b, flags)
	if flags&lzopFilter != 0 {
		b = binary.BigEndian.AppendUint32(b, 1)
	}
	b = append(b, 0, 0, 0x81, 0xa4, 0x6b, 0x0b, 0xcc, 0xd8, 0, 0, 0, 0, byte(len(name)))
	b = append(b, name...)
	sum := adler32.Checksum
	if flags&lzopCRC32 != 0 {
		sum = crc32.ChecksumIEEE
	}
	return append(binary.BigEndian.AppendUint32(b, sum(b[len(lzopMagic):])), "data"...)
}

func TestDateLzop(t *testing.T) {
	for _, test := range []struct {
		summary string
		header  []byte
		timeAt  int // 0: it is none
	}{
		{"of a stream", lzopHeader(0x0300000d, ""), 25},
		{"with a name", lzopHeader(0x0300000d, "name"), 25},
		{"with a filter", lzopHeader(0x0300000d|lzopFilter, ""), 29},
		{"with a CRC", lzopHeader(0x0300000d|lzopCRC32, "name"), 25},
		{"cut", lzopHeader(0, "name")[:36], 0},
		{"damaged", bytes.Replace(lzopHeader(0, "name"), []byte("name"), []byte("nbme"), 1), 0},
		{"of something else", []byte("something that is no archive of lzop at all"), 0},
		{"empty", nil, 0},
	} {
		got := bytes.Clone(test.header)
		err := dateLzopHeader(got, time.Unix(1<<32+7, 0))
		if test.timeAt == 0 {
			if err != errLzop || !bytes.Equal(got, test.header) {
				t.Errorf("%s: %v, changed: %v", test.summary, err, !bytes.Equal(got, test.header))
			}
			continue
		}
		if err != nil || !bytes.Equal(got[test.timeAt:test.timeAt+8], []byte{0, 0, 0, 7, 0, 0, 0, 1}) {
			t.Errorf("%s: %v, % x", test.summary, err, got)
		}
		if err := dateLzopHeader(got, time.Unix(0, 0)); err != nil { // as its checksum is right
			t.Errorf("%s: again: %v", test.summary, err)
		}
	}
}

func FuzzDateLzop(f *testing.F) {
	f.Add(lzopHeader(0x0300000d, "name"))
	f.Add(lzopHeader(lzopFilter|lzopCRC32, ""))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := dateLzopHeader(data, time.Unix(1, 0)); err != nil {
			return
		}
		if err := dateLzopHeader(data, time.Unix(2, 0)); err != nil {
			t.Errorf("a header that was written is not read: %v", err)
		}
	})
}
