package bytesize_test

import (
	"testing"

	"imagebuilder/builtins/bytesize"
)

func TestSize(t *testing.T) {
	tests := []struct {
		text            string
		bytes           int64
		binary, decimal string
	}{
		{"0", 0, "0 B", "0 B"},
		{"999B", 999, "999 B", "999 B"},
		{"1kB", 1000, "1000 B", "1.00 kB"},
		{"1KiB", 1024, "1.0 KiB", "1.02 kB"},
		{"6660", 6660, "6.5 KiB", "6.66 kB"},
		{"1048524", 1<<20 - 52, "1023.9 KiB", "1.05 MB"},
		{"1048525", 1<<20 - 51, "1.0 MiB", "1.05 MB"},
		{"20GiB", 20 << 30, "20.0 GiB", "21.47 GB"},
		{"500MB", 500e6, "476.8 MiB", "500.00 MB"},
		{"3000TiB", 3000 << 40, "2.9 PiB", "3.30 PB"},
		{"999994", 999994, "976.6 KiB", "999.99 kB"},
		{"999996", 999996, "976.6 KiB", "1.00 MB"},
		{"2 bytes", 2, "2 B", "2 B"},
		{"1EiB", 1 << 60, "1.0 EiB", "1152.92 PB"},
		{"9223372036854775807", 1<<63 - 1, "8.0 EiB", "9223.37 PB"},
	}
	for _, test := range tests {
		var s bytesize.Size
		if err := s.Set(test.text); err != nil || int64(s) != test.bytes || s.String() != test.binary || s.Decimal() != test.decimal {
			t.Errorf("%s: %d, %q, %q, %v; want %d, %q, %q", test.text, int64(s), s, s.Decimal(), err, test.bytes, test.binary, test.decimal)
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
