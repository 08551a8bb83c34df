package magic_test

import (
	"bytes"
	"strings"
	"testing"

	"imagebuilder/builtins/magic"
)

func TestOf(t *testing.T) {
	tests := []struct {
		summary, head string
		want          magic.Kind
	}{
		{"nothing", "", ""},
		{"text", "#!/bin/sh\n", ""},
		{"gzip", "\x1f\x8b\x08\x00", magic.Gzip},
		{"xz", "\xfd7zXZ\x00\x00", magic.XZ},
		{"half of the beginning of xz", "\xfd7zX", ""},
		{"zstd", "\x28\xb5\x2f\xfd\x04", magic.Zstd},
		{"squashfs", "hsqs\x01", magic.Squashfs},
		{"qcow2", "QFI\xfb\x00", magic.Qcow2},
		{"tar", strings.Repeat("x", 257) + "ustar\x00", magic.Tar},
		{"a tar archive that is cut off", strings.Repeat("x", 257) + "ust", ""},
		{"zip", "PK\x03\x04\x14", magic.Zip},
		{"cpio", "070701000", magic.CPIO},
		{"rpm", "\xed\xab\xee\xdb\x03", magic.RPM},
		{"deb", "!<arch>\ndebian-binary   ", magic.Deb},
		{"a library", "!<arch>\n/               ", ""},
		{"a medium that is a disk too", strings.Repeat("\x00", 510) + "\x55\xaaEFI PART" + strings.Repeat("\x00", 0x8001-520) + "CD001", magic.ISO9660},
		{"ext4", strings.Repeat("\x00", 0x438) + "\x53\xef", magic.Ext},
		{"btrfs", strings.Repeat("\x00", 0x10040) + "_BHRfS_M", magic.Btrfs},
		{"fat32", "\xebX\x90mkfs.fat" + strings.Repeat("\x00", 0x52-11) + "FAT32   " + strings.Repeat("\x00", 510-0x5a) + "\x55\xaa", magic.FAT},
		{"a disk", strings.Repeat("\x00", 510) + "\x55\xaa", magic.Disk},
		{"a compressed file with ustar in it", "BZh" + strings.Repeat("x", 254) + "ustar", magic.Bzip2},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			head, err := magic.Deep(bytes.NewReader([]byte(test.head)))
			if got := magic.Of(head); got != test.want || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestMachine(t *testing.T) {
	elf := func(class, order byte, machine string) string {
		return "\x7fELF" + string([]byte{class, order}) + strings.Repeat("\x00", 12) + machine
	}
	for _, test := range []struct{ head, want string }{
		{elf(2, 1, "\x3e\x00"), "x86_64"},
		{elf(1, 1, "\x3e\x00"), "x86_64"},
		{elf(1, 1, "\x03\x00"), "i686"},
		{elf(2, 1, "\xb7\x00"), "aarch64"},
		{elf(2, 2, "\x00\x16"), "s390x"},
		{elf(2, 2, "\x00\x15"), "ppc64"},
		{elf(2, 1, "\x15\x00"), "ppc64le"},
		{elf(2, 1, "\xf3\x00"), "riscv64"},
		{elf(2, 1, "\x02\x01"), "loongarch64"},
		{elf(2, 1, "\xff\xff"), ""},
		{elf(2, 1, "\x3e"), ""},
		{"#!/bin/sh\n# a script of some length", ""},
	} {
		if got := magic.Machine([]byte(test.head)); got != test.want {
			t.Errorf("%q is for %q, want %q", test.head, got, test.want)
		}
	}
}

// Length is long enough for all of the table.
func TestLength(t *testing.T) {
	long := []byte(strings.Repeat("x", 257) + "ustar")
	if len(long) != magic.Length || magic.Of(long) != magic.Tar {
		t.Errorf("%d bytes are not enough", magic.Length)
	}
}
