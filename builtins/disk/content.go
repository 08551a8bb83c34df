package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/sandbox"
)

// What is to be on a disk is looked at before anything is written: what FAT cannot hold, what
// takes more room than there is, and what nobody could boot from.

// Content is what a root file system puts on its disk.
type Content struct {
	Blocks  int64 // of the root, of blockSize, without what the file system itself needs
	Inodes  int64
	Dirs    []string // of the EFI system partition, relative to it, sorted
	Files   []string // of the same
	Sizes   []int64  // of Files
	Kernel  bool     // there is something that may be one
	Loader  bool     // there is a boot loader that firmware finds by itself
	HasBoot bool     // there is a directory /boot
	HasESP  bool     // there is a directory ESP
}

// blockSize is that of the file systems that hold a root.
const blockSize = 4096

// Looking finds out what a root file system puts on its disk. What cannot be on an EFI system
// partition is an error.
var Looking = sandbox.NewTask("disk content", func(_ context.Context, in *sandbox.Inside, _ sandbox.None) (c Content, err error) {
	root := in.Roots[0]
	if err := c.lookAtESP(root); err != nil {
		return c, err
	}
	linked := make(map[uint64]bool)
	return c, root.Walk(".", func(name string, st *unix.Stat_t) error {
		name = path.Join("/", name)
		if strings.HasPrefix(name, ESP+"/") {
			return nil
		}
		kind := st.Mode & unix.S_IFMT
		if path.Dir(name) == "/boot" && kind != unix.S_IFDIR && isKernel(path.Base(name)) {
			c.Kernel = true
		}
		if kind != unix.S_IFDIR && st.Nlink > 1 {
			if linked[st.Ino] {
				return nil
			}
			linked[st.Ino] = true
		}
		c.Inodes++
		switch kind {
		case unix.S_IFDIR:
			c.HasBoot = c.HasBoot || name == "/boot"
			c.Blocks += max(1, (st.Size+blockSize-1)/blockSize)
		case unix.S_IFREG:
			c.Blocks += min(st.Blocks*512+blockSize-1, st.Size+blockSize-1) / blockSize
		case unix.S_IFLNK:
			if st.Size >= 60 { // which the inode holds
				c.Blocks++
			}
		}
		return nil
	})
})

// isKernel tells by its name what distributions call their kernels.
func isKernel(name string) bool {
	return slices.ContainsFunc([]string{"vmlinu", "Image", "bzImage", "kernel", "zImage"}, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

func (c *Content) lookAtESP(root *dirfd.Dir) error {
	for _, dir := range []string{path.Dir(ESP), ESP} {
		st, err := root.Lstat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return fmt.Errorf("%s is no directory, and the EFI partition is to be mounted on %s", dir, ESP)
		}
	}
	c.HasESP = true
	lower := make(map[string]string) // FAT tells no case
	err := root.Walk(ESP, func(name string, st *unix.Stat_t) error {
		name = strings.TrimPrefix(path.Join("/", name), ESP)
		if name == "" {
			return nil
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			c.Dirs = append(c.Dirs, name)
		case unix.S_IFREG:
			c.Files, c.Sizes = append(c.Files, name), append(c.Sizes, st.Size)
		case unix.S_IFLNK:
			return fmt.Errorf("%s%s is a symbolic link, which the EFI partition cannot hold", ESP, name)
		default:
			return fmt.Errorf("%s%s is neither a file nor a directory, and the EFI partition holds nothing else", ESP, name)
		}
		if base := path.Base(name); strings.ContainsAny(base, "\"*:<>?\\|") || strings.TrimRight(base, ". ") != base ||
			strings.ContainsFunc(base, func(r rune) bool { return r < ' ' }) {
			return fmt.Errorf("%s%s has a name that the EFI partition cannot hold", ESP, name)
		}
		key := strings.ToLower(name)
		if other, ok := lower[key]; ok {
			return fmt.Errorf("%s%s and %s are one name on the EFI partition, which tells no case", ESP, other, path.Base(name))
		}
		lower[key] = name
		loader, _ := path.Match("/efi/boot/boot*.efi", key)
		unified, _ := path.Match("/efi/linux/*.efi", key)
		c.Loader = c.Loader || loader
		c.Kernel = c.Kernel || unified || isKernel(path.Base(name)) || path.Base(name) == "linux"
		return nil
	})
	slices.Sort(c.Dirs)
	return err
}

// checkESP finds out whether the EFI system partition has room.
func (d Disk) checkESP(c Content) error {
	cluster := int64(sector)
	if d.ESPSize > 260<<20 {
		cluster = 4096
	}
	room := (d.ESPSize - 32*sector) / (cluster + 8) * cluster // each has an entry of 4 bytes in both tables
	need := int64(len(c.Dirs)+1) * cluster
	for _, size := range c.Sizes {
		need += (size + cluster - 1) / cluster * cluster
	}
	need += int64(len(c.Dirs)+len(c.Files)) * 3 * 32 // long names
	if need <= room {
		return nil
	}
	larger := (need/cluster*(cluster+8) + 32*sector + alignment) / alignment
	return fmt.Errorf("the EFI partition is too small: what is in %s takes %s and there is room for %s; an esp_size of %dMiB is enough",
		ESP, bytesize.Size(need), bytesize.Size(room), larger)
}

// Doubts are what keeps a disk from booting, most likely.
func (c Content) Doubts() []string {
	var list []string
	if !c.Kernel {
		list = append(list, "there is no kernel in /boot")
	}
	if !c.Loader {
		list = append(list, "there is no boot loader where firmware looks for one, "+ESP+"/EFI/BOOT/BOOT*.EFI")
	}
	return list
}
