package disk_test

import (
	"regexp"
	"strings"
	"testing"

	"imagebuilder/builtins/disk"
)

func TestCheck(t *testing.T) {
	tests := []struct {
		summary string
		change  func(*disk.Disk)
		err     string // "": none
	}{
		{"the defaults are fine", func(*disk.Disk) {}, ""},
		{"btrfs is", func(d *disk.Disk) { d.FileSystem = "btrfs" }, ""},
		{"another file system is not", func(d *disk.Disk) { d.FileSystem = "xfs" }, `unknown file system "xfs"; known are ext4, btrfs`},
		{"a disk that holds little but the EFI partition", func(d *disk.Disk) { d.Size = 101 << 20 }, "the disk is too small: 101.0 MiB, with its EFI partition it takes 118.0 MiB at least"},
		{"btrfs takes more", func(d *disk.Disk) { d.FileSystem, d.Size = "btrfs", 118<<20 }, "takes 294.0 MiB at least"},
		{"an EFI partition for FAT16", func(d *disk.Disk) { d.ESPSize = 10 << 20 }, "the EFI partition is too small: 10.0 MiB, FAT32 takes 34.0 MiB at least"},
		{"one of an odd size", func(d *disk.Disk) { d.ESPSize = 100e6 }, "no whole number of MiB"},
		{"no UUID", func(d *disk.Disk) { d.PartUUID = "rootfs" }, `not a UUID such as 12345678-9abc-def0-1234-56789abcdef0: "rootfs"`},
		{"no volume ID", func(d *disk.Disk) { d.ESPUUID = "12ab34cd" }, `not a volume ID such as 12AB-34CD: "12ab34cd"`},
		{"one name of two", func(d *disk.Disk) { d.Names = []string{"a"} }, "got 1 names of partitions, want 2"},
		{"a name that is too long", func(d *disk.Disk) { d.Names = []string{"", strings.Repeat("x", 37)} }, "not a name of a partition"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			d := disk.Disk{}.Complete("debian", "trixie")
			test.change(&d)
			switch err := d.Check(); {
			case test.err == "" && err != nil:
				t.Error(err)
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
				t.Errorf("got %v, want %s", err, test.err)
			}
		})
	}
}

func TestUUIDs(t *testing.T) {
	ids := func(d disk.Disk) []string { return []string{d.UUID, d.PartUUID, d.ESPPart, d.TableUUID, d.ESPUUID} }
	one := ids(disk.Disk{}.Complete("debian", "trixie"))
	if again := ids(disk.Disk{}.Complete("debian", "trixie")); strings.Join(again, " ") != strings.Join(one, " ") {
		t.Errorf("the same disk has once %s and once %s", one, again)
	}
	seen := make(map[string]bool)
	for _, id := range append(one, ids(disk.Disk{}.Complete("debiantrixie"))...) {
		if seen[id] {
			t.Errorf("%s is there twice", id)
		}
		seen[id] = true
		if !regexp.MustCompile(`^([0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}|[0-9A-F]{4}-[0-9A-F]{4})$`).MatchString(id) {
			t.Errorf("%s is no UUID", id)
		}
	}
}

// What programs see does not depend on what they cannot: a larger disk costs no step anew.
func TestSeen(t *testing.T) {
	small, large := disk.Disk{}.Complete("x"), disk.Disk{}.Complete("x")
	large.Size, large.Options = 8<<30, []string{"-O", "^64bit"}
	if a, b := small.Seen(), large.Seen(); a.UUID != b.UUID || a.Size != b.Size || len(a.Options) != len(b.Options) {
		t.Errorf("%+v and %+v look otherwise", a, b)
	}
}
