// Package disk makes the disk of a virtual machine from a root file system: a partition table,
// an EFI system partition and a partition with the root, in one plain file, without loop
// devices and without mounting what it makes, where the file system allows that. It also says
// what programs take for that disk while the root file system still is layers.
//
// What boots from it is the business of recipes: nothing here installs a boot loader.
package disk

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"imagebuilder/builtins/bytesize"
)

// A Disk says how a disk is laid out.
type Disk struct {
	Size       int64    `json:"size"`         // in bytes
	FileSystem string   `json:"filesystem"`   // of the root; one of FileSystems
	Options    []string `json:"options"`      // further arguments of the program that makes it
	ESPSize    int64    `json:"esp_size"`     // of the EFI system partition, in bytes
	Names      []string `json:"names"`        // of the EFI and the root partition, in the table
	UUID       string   `json:"uuid"`         // of the root file system
	PartUUID   string   `json:"partuuid"`     // of its partition
	ESPUUID    string   `json:"esp_uuid"`     // volume ID of the EFI file system: XXXX-XXXX
	ESPPart    string   `json:"esp_partuuid"` // of its partition
	TableUUID  string   `json:"table_uuid"`   // of the disk
}

// FileSystems are those that a root can have.
var FileSystems = []string{"ext4", "btrfs"}

// What is the same on all disks. The labels are those that /etc/fstab names.
const (
	DefaultSize    = 4 << 30
	DefaultESPSize = 100 << 20

	ESP       = "/boot/efi" // directory of the root file system that is the EFI system partition
	RootLabel = "rootfs"
	ESPLabel  = "UEFI"
	Subvolume = "@" // of a btrfs file system, that is the root
)

const (
	sector    = 512
	alignment = 1 << 20  // of partitions
	minESP    = 34 << 20 // FAT32 has at least 65525 clusters
	tableEnd  = 33       // sectors of the second table, at the end
)

// Complete gives what is empty its default. UUIDs are derived from what the disk is for: the
// same texts give the same.
func (d Disk) Complete(identity ...string) Disk {
	id := func(what string) string { return newUUID(append([]string{what}, identity...)) }
	d.Size, d.ESPSize = cmp.Or(d.Size, DefaultSize), cmp.Or(d.ESPSize, DefaultESPSize)
	d.FileSystem = cmp.Or(d.FileSystem, FileSystems[0])
	d.UUID, d.PartUUID = cmp.Or(d.UUID, id("root")), cmp.Or(d.PartUUID, id("root partition"))
	d.ESPUUID = cmp.Or(d.ESPUUID, strings.ToUpper(id("efi")[:4]+"-"+id("efi")[4:8]))
	d.ESPPart, d.TableUUID = cmp.Or(d.ESPPart, id("efi partition")), cmp.Or(d.TableUUID, id("disk"))
	if d.Names == nil {
		d.Names = []string{"", ""}
	}
	return d
}

// newUUID derives a UUID from texts, as one of version 8 of RFC 9562.
func newUUID(texts []string) string {
	sum := sha256.Sum256([]byte(strings.Join(texts, "\x00")))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// Seen is the disk as programs see it while they change what is to be on it.
func (d Disk) Seen() Disk {
	d.Size, d.Options = 0, nil
	return d
}

// Check finds what is wrong with a disk, whatever is to be on it.
func (d Disk) Check() error {
	switch {
	case !slices.Contains(FileSystems, d.FileSystem):
		return fmt.Errorf("unknown file system %q; known are %s", d.FileSystem, strings.Join(FileSystems, ", "))
	case d.ESPSize < minESP:
		return fmt.Errorf("the EFI partition is too small: %s, FAT32 takes %s at least", bytesize.Size(d.ESPSize), bytesize.Size(minESP))
	case d.ESPSize%alignment != 0:
		return errors.New("the size of the EFI partition is no whole number of MiB")
	case d.Size < d.minSize():
		return fmt.Errorf("the disk is too small: %s, with its EFI partition it takes %s at least", bytesize.Size(d.Size), bytesize.Size(d.minSize()))
	case len(d.Names) != 2:
		return fmt.Errorf("got %d names of partitions, want 2: of the EFI and of the root partition", len(d.Names))
	}
	for _, id := range []string{d.UUID, d.PartUUID, d.ESPPart, d.TableUUID} {
		if !uuid.MatchString(id) {
			return fmt.Errorf("not a UUID such as 12345678-9abc-def0-1234-56789abcdef0: %q", id)
		}
	}
	if !volumeID.MatchString(d.ESPUUID) {
		return fmt.Errorf("not a volume ID such as 12AB-34CD: %q", d.ESPUUID)
	}
	for _, name := range d.Names {
		if len(name) > 36 || strings.ContainsAny(name, "\x00\n") {
			return fmt.Errorf("not a name of a partition, which has 36 characters at most: %q", name)
		}
	}
	return nil
}

var (
	uuid     = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	volumeID = regexp.MustCompile(`^[0-9A-F]{4}-[0-9A-F]{4}$`)
)

// btrfsOverhead is what its own chunks take of a small file system.
const btrfsOverhead = 192 << 20

// minSize is what an empty root takes.
func (d Disk) minSize() int64 {
	if d.FileSystem == "btrfs" {
		return d.ESPSize + 2*alignment + btrfsOverhead
	}
	return d.ESPSize + 2*alignment + 16<<20
}

// A span is a partition in bytes.
type span struct{ start, size int64 }

func (d Disk) espSpan() span { return span{alignment, d.ESPSize} }

func (d Disk) rootSpan() span {
	start := alignment + d.ESPSize
	end := (d.Size/sector - tableEnd) * sector / alignment * alignment
	return span{start, end - start}
}

// Environment are the variables by which programs learn what the root file system is known
// by, under the names that this tool, its predecessor and its sister give them.
func (d Disk) Environment() map[string]string {
	env := make(map[string]string)
	for _, tool := range []string{"LXD_IMAGEBUILDER", "DISTROBUILDER"} {
		env[tool+"_ROOT_UUID"] = "UUID=" + d.UUID
		env[tool+"_ROOT_PARTUUID"] = "PARTUUID=" + d.PartUUID
	}
	return env
}
