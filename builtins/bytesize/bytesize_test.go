package bytesize_test

import (
	"testing"

	"imagebuilder/builtins/bytesize"
)

func TestSize(t *testing.T) {
	tests := []struct {
		text    string
		bytes   int64
		printed string
	}{
		{"0", 0, "0 B"},
		{"999B", 999, "999 B"},
		{"1kB", 1000, "1000 B"},
		{"1KiB", 1024, "1.0 KiB"},
		{"6660", 6660, "6.5 KiB"},
		{"1048524", 1<<20 - 52, "1023.9 KiB"},
		{"1048525", 1<<20 - 51, "1.0 MiB"},
		{"20GiB", 20 << 30, "20.0 GiB"},
		{"500MB", 500e6, "476.8 MiB"},
		{"3000TiB", 3000 << 40, "2.9 PiB"},
		{"2 bytes", 2, "2 B"},
		{"1EiB", 1 << 60, "1.0 EiB"},
		{"9223372036854775807", 1<<63 - 1, "8.0 EiB"},
	}
	for _, test := range tests {
		var s bytesize.Size
		if err := s.Set(test.text); err != nil || int64(s) != test.bytes || s.String() != test.printed {
			t.Errorf("%s: %d, %q, %v; want %d, %q", test.text, int64(s), s, err, test.bytes, test.printed)
		}
	}
}

func TestSizeRefuses(t *testing.T) {
	for _, text := range []string{"", "GB", "-1", "+1", "1.5GB", "1 GB", "1gb", "5G", "0x10", "99999999TiB", "9EiB"} {
		s := bytesize.Size(7)
		if err := s.Set(text); err == nil || s != 7 {
			t.Errorf("%q is taken for %d", text, int64(s))
		}
	}
}
