package sandbox

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/tree"
)

// How a root file system that is made of layers looks like one on a disk. Boot loaders ask the
// kernel's table of mounts on which device a directory lies, and read what file system the
// device has. The table shows whatever name a mount was given, and a device may as well be a
// file. How a disk is laid out is the business of package disk.

// A Partition is one of the disk on which Root seems to lie.
type Partition struct {
	Device string   // what the table of mounts calls it, such as /dev/sda2
	Links  []string // further names of it in /dev
	Image  string   // file of the host that they find there, and only read
	At     string   // directory of Root that seems to be on it
	Size   int64    // of At, unless that is "/": how much can be written there, in bytes
}

// rootDevice is what Root seems to lie on; "": nothing is said of it.
func (spec *Spec) rootDevice() string {
	for _, p := range spec.Disk {
		if p.At == "/" {
			return p.Device
		}
	}
	return ""
}

// devices returns the mounts that the devices are.
func (spec *Spec) devices() (list detachedMounts, err error) {
	for _, p := range spec.Disk {
		fd, err := detach(p.Image, false)
		if err != nil {
			return list, err
		}
		list = append(list, detachedMount{fd: fd, at: p.Device})
	}
	return list, nil
}

// A volume is a directory of the root file system that seems to be a file system of its own.
// What programs leave in it is in the directory afterwards, whatever they did to the mount.
type volume struct {
	at      string
	content *dirfd.Dir // of a mount that is not in the tree
	before  digest.Digest
}

type volumes []volume

// mountDisk mounts what seems to be on other partitions than the root, and makes the further
// names of all.
func (spec *Spec) mountDisk(root *dirfd.Dir) (list volumes, err error) {
	for _, p := range spec.Disk {
		for _, name := range p.Links {
			if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
				return list, err
			}
			if err := root.Symlink(p.Device, name, true); err != nil {
				return list, err
			}
		}
		if p.At == "/" {
			continue
		}
		v, err := p.mount(root)
		if err != nil {
			return list, fmt.Errorf("cannot mount %s: %w", p.At, dirfd.Cause(err))
		}
		list = append(list, v)
	}
	return list, nil
}

func (p Partition) mount(root *dirfd.Dir) (v volume, err error) {
	if err := root.MkdirAll(p.At, 0o755); err != nil {
		return v, err
	}
	below, err := root.Sub(p.At)
	if err != nil {
		return v, err
	}
	defer below.Close()
	v.at = p.At
	err = onto(root, p.At, func(target string) error {
		return unix.Mount(p.Device, target, "tmpfs", unix.MS_NODEV, fmt.Sprintf("mode=0755,size=%d", p.Size))
	})
	if err != nil {
		return v, err
	}
	err = onto(root, p.At, func(target string) error {
		// A handle on the mount itself would keep programs from unmounting it.
		fd, err := detach(target, true)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		v.content, err = dirfd.Open(fmt.Sprintf("/proc/self/fd/%d", fd), dirfd.InRoot)
		return err
	})
	if err != nil {
		return v, err
	}
	if err := new(tree.Copier).Copy(context.Background(), v.content, below); err != nil {
		return v, errors.Join(err, v.content.Close())
	}
	v.before, err = v.sum()
	if err != nil {
		return v, errors.Join(err, v.content.Close())
	}
	return v, nil
}

func (v volume) sum() (digest.Digest, error) {
	h := sha256.New()
	err := tree.WriteArchive(h, v.content)
	return digest.Of(h), err
}

// settle puts what programs have changed of the volumes into the bare root file system.
func (list volumes) settle(root *dirfd.Dir) error {
	for _, v := range list {
		now, err := v.sum()
		if err == nil && now != v.before {
			err = v.replace(root)
		}
		if err != nil {
			return fmt.Errorf("cannot keep what is in %s: %w", v.at, dirfd.Cause(err))
		}
	}
	return nil
}

func (v volume) replace(root *dirfd.Dir) error {
	if err := root.MkdirAll(v.at, 0o755); err != nil {
		return err
	}
	if err := root.Clear(v.at); err != nil {
		return err
	}
	to, err := root.Sub(v.at)
	if err != nil {
		return err
	}
	defer to.Close()
	return new(tree.Copier).Copy(context.Background(), to, v.content)
}

func (list volumes) close() {
	for _, v := range list {
		v.content.Close()
	}
}

// hideIn lays an empty directory that looks like it over a directory of a root file system
// that is mounted at a place of root; "" hides none.
func hideIn(root *dirfd.Dir, at, name string) error {
	if name == "" {
		return nil
	}
	in, err := root.Sub(at)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat(name)
	if err != nil {
		return err
	}
	if err := mountIn(in, name, "tmpfs", unix.MS_NODEV, fmt.Sprintf("size=4k,mode=%o,uid=%d,gid=%d", st.Mode&0o7777, st.Uid, st.Gid)); err != nil {
		return err
	}
	return onto(in, name, func(target string) error {
		return unix.UtimesNanoAt(unix.AT_FDCWD, target, []unix.Timespec{st.Atim, st.Mtim}, 0)
	})
}
