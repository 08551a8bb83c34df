package disk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/sandbox"
)

// What programs find in the place of the disk while there is none: empty file systems that
// have the labels and UUIDs of the final ones, for boot loaders to look at.

// Files of StandIns.
const (
	rootImage = "root.img"
	espImage  = "esp.img"
)

// Devices as LXD gives them to virtual machines.
const (
	rootDevice = "/dev/sda2"
	espDevice  = "/dev/sda1"
)

// standInSize is that of an empty root file system.
var standInSize = map[string]int64{"ext4": 8 << 20, "btrfs": 128 << 20}

// StandIns makes the files in a directory that Partitions shows.
func (d Disk) StandIns(ctx context.Context, dir string, epoch host.Epoch) error {
	root, esp := filepath.Join(dir, rootImage), filepath.Join(dir, espImage)
	size := standInSize[d.FileSystem]
	if err := sparse(root, size); err != nil {
		return err
	}
	if err := sparse(esp, d.ESPSize); err != nil {
		return err
	}
	plain := d
	plain.Options = nil // they may be for a larger one
	for _, args := range [][]string{plain.mkfs(root, span{0, size}), d.mkfsESP(esp)} {
		if err := (host.Command{Args: args, Env: environ(epoch)}).Run(ctx); err != nil {
			return fmt.Errorf("cannot make an empty file system: %w", err)
		}
	}
	return nil
}

// Partitions are what programs take for the disk, with what StandIns has made in a directory.
func (d Disk) Partitions(dir string) []sandbox.Partition {
	links := func(label, uuid, part, name string) []string {
		list := []string{"/dev/disk/by-label/" + label, "/dev/disk/by-uuid/" + uuid, "/dev/disk/by-partuuid/" + part}
		if name != "" && filepath.Base(name) == name {
			list = append(list, "/dev/disk/by-partlabel/"+name)
		}
		return list
	}
	return []sandbox.Partition{
		{Device: rootDevice, At: "/", Image: filepath.Join(dir, rootImage), Links: links(RootLabel, d.UUID, d.PartUUID, d.Names[1])},
		{Device: espDevice, At: ESP, Image: filepath.Join(dir, espImage), Links: links(ESPLabel, d.ESPUUID, d.ESPPart, d.Names[0]), Size: d.ESPSize},
	}
}

// sparse makes a file of a size that takes no room.
func sparse(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = f.Truncate(size)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
