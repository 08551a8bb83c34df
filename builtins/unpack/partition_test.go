package unpack

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const mib = 1 << 20

// Tables are those of the programs that make disks.
func TestPartitions(t *testing.T) {
	for _, test := range []struct {
		summary, tool, make string
		want                []Partition
	}{
		{"GPT", "sgdisk", "sgdisk -n 1:2048:+1M -n 3:0:+2M archive", []Partition{{1, mib, mib, ""}, {3, 2 * mib, 2 * mib, "ext4"}}},
		{"MBR", "sfdisk", "printf 'start=2048,size=2048\\nsize=4096\\n' | sfdisk -q archive", []Partition{{1, mib, mib, ""}, {2, 2 * mib, 2 * mib, "ext4"}}},
		{"logical ones", "sfdisk", "printf 'start=2048,size=2048\\nstart=4096,size=12288,type=5\\nstart=6144,size=2048\\nstart=10240,size=4096\\n' | sfdisk -q archive",
			[]Partition{{1, mib, mib, ""}, {5, 3 * mib, mib, ""}, {6, 5 * mib, 2 * mib, ""}}},
		{"none", "sfdisk", "echo 'label: dos' | sfdisk -q archive", nil},
	} {
		t.Run(test.summary, func(t *testing.T) {
			need(t, test.tool)
			dir := t.TempDir()
			run(t, dir, "sh", "-c", "truncate -s 10M archive && "+test.make)
			// The second partition begins as ext4 does.
			f, err := os.OpenFile(dir+"/archive", os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte("\x53\xef"), 2*mib+0x438); err != nil {
				t.Fatal(err)
			}
			list, err := Partitions(f, 10*mib)
			if err != nil || fmt.Sprint(list) != fmt.Sprint(test.want) {
				t.Fatalf("%+v, %v", list, err)
			}
			for i, p := range list {
				if p != test.want[i] {
					t.Errorf("%+v, want %+v", p, test.want[i])
				}
			}
		})
	}
}

func TestChoose(t *testing.T) {
	list := []Partition{{1, 0, 1, "fat"}, {2, 1, 1, "ext4"}, {4, 2, 1, ""}}
	for _, test := range []struct {
		list         []Partition
		number, want int
		err          string
	}{
		{list, 2, 2, ""},
		{list, -1, 4, ""},
		{list[1:], 0, 2, ""},
		{list, 0, 0, "several of its partitions have file systems; say which by partition: 1 (fat), 2 (ext4), 4 (unknown)"},
		{list, 3, 0, "it has no partition 3; there are 1 (fat), 2 (ext4), 4 (unknown)"},
		{list[2:], 0, 0, "none of its partitions has a file system that is known: 4 (unknown)"},
		{nil, 1, 0, "it has no partitions"},
	} {
		p, err := Choose(test.list, test.number)
		if p.Number != test.want || text(err) != test.err {
			t.Errorf("%d of %v: %v, %v", test.number, test.list, p, err)
		}
	}
}

// Whatever a table says, nothing of it lies outside of the disk, and reading it ends.
func FuzzPartitions(f *testing.F) {
	disk := make([]byte, 4*mbrSector)
	disk[510], disk[511], disk[450], disk[454], disk[458] = 0x55, 0xaa, 0x83, 1, 1
	f.Add(disk)
	loop := bytes.Clone(disk)
	loop[450] = 5
	f.Add(append(loop[:mbrSector], loop...))
	f.Fuzz(func(t *testing.T, disk []byte) {
		size := int64(len(disk))
		list, err := Partitions(bytes.NewReader(disk), size)
		for _, p := range list {
			if err == nil && (p.Start < 0 || p.Size <= 0 || p.Start+p.Size > size) {
				t.Errorf("%+v of %d bytes", p, size)
			}
		}
	})
}

// A part of a disk is copied with its holes.
func TestCopyRange(t *testing.T) {
	dir := t.TempDir()
	from, err := os.Create(dir + "/disk")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	for at, text := range map[int64]string{mib - 4: "head", 3 * mib: "middle", 9*mib - 3: "end, and more"} {
		if _, err := from.WriteAt([]byte(text), at); err != nil {
			t.Fatal(err)
		}
	}
	to := filepath.Join(dir, "part")
	if err := CopyRange(context.Background(), to, from, mib, 8*mib); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("\x00", 2*mib) + "middle" + strings.Repeat("\x00", 6*mib-9) + "end"
	if string(data) != want {
		t.Error("the copy is another")
	}
}
