package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/sandbox"
)

// A btrfs root is a subvolume, which is the default one, so that the kernel finds it also where
// its command line does not name it. A boot loader reads from the top level: there a link leads
// to /boot.

// Ready finds out whether this machine can make the disk: of btrfs, a tree can be put into a
// subvolume by btrfs-progs from 6.12 on, or by root, with a kernel that knows the file system.
func (d Disk) Ready(ctx context.Context) error {
	if d.FileSystem != "btrfs" || !host.Installed("mkfs.btrfs") {
		return nil
	}
	if subvolumes, err := makesSubvolumes(ctx); subvolumes || err != nil {
		return err
	}
	err := unix.Access("/dev/loop-control", unix.R_OK|unix.W_OK) // that of a user namespace may not
	if os.Geteuid() != 0 || errors.Is(err, unix.EACCES) {
		return errors.New("cannot make a btrfs file system: that takes root, or btrfs-progs 6.12")
	}
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		return err
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil || !bytes.Contains(known, []byte("\tbtrfs\n")) {
		return errors.New("cannot make a btrfs file system: that takes a kernel with btrfs and loop devices, or btrfs-progs 6.12; modprobe -a btrfs loop")
	}
	return nil
}

// makesSubvolumes tells whether mkfs.btrfs can make a tree a subvolume.
func makesSubvolumes(ctx context.Context) (bool, error) {
	var help bytes.Buffer
	err := host.Command{Args: []string{"mkfs.btrfs", "--help"}, Stdout: &help, Stderr: &help}.Run(ctx)
	var exit *host.ExitError
	if err != nil && !errors.As(err, &exit) {
		return false, err
	}
	return strings.Contains(help.String(), "--subvol"), nil
}

func (j Job) btrfs(ctx context.Context, name string, content Content) error {
	// What the file system itself takes is known to nobody before: a tenth, and its chunks.
	if missing := content.Blocks*blockSize/10*11 + btrfsOverhead - j.Disk.rootSpan().size; missing > 0 {
		return j.Disk.tooSmall(missing)
	}
	part := name + ".root"
	host := filepath.Join(j.Dir, part)
	if err := sparse(host, j.Disk.rootSpan().size); err != nil {
		return err
	}
	subvolumes, err := makesSubvolumes(ctx)
	if err != nil {
		return err
	}
	if subvolumes {
		err = j.btrfsFromTree(ctx, path.Join(outDir, part), content)
	} else {
		err = j.btrfsMounted(ctx, part, content)
	}
	if err == nil {
		err = copyInto(filepath.Join(j.Dir, name), host, j.Disk.rootSpan().start)
	}
	return errors.Join(err, os.Remove(host))
}

// top is where the top level of the file system is put together, or mounted.
const top = "/tmp/top"

// btrfsFromTree makes the file system without mounting it.
func (j Job) btrfsFromTree(ctx context.Context, file string, content Content) error {
	rootfs := j.rootfs(content)
	rootfs.At = path.Join(top, Subvolume)
	args := j.Disk.mkfs(file, span{})
	args = append(args[:1:1], append([]string{"--rootdir", top, "--subvol", "default:" + Subvolume}, args[1:]...)...)
	script := "#!/bin/sh\nset -eu\n" + linkBoot(content) + "exec " + host.Quote(args) + "\n"
	return j.run(ctx, []sandbox.Mount{rootfs}, sandbox.Program{Script: script})
}

// btrfsMounted makes an empty file system, and fills it as what is mounted from a loop device,
// which is gone with the mount.
func (j Job) btrfsMounted(ctx context.Context, part string, content Content) error {
	if err := j.run(ctx, nil, sandbox.Program{Args: j.Disk.mkfs(path.Join(outDir, part), span{})}); err != nil {
		return err
	}
	script := fmt.Sprintf("#!/bin/sh\nset -eu\nbtrfs -q subvolume create %[1]s/%[2]s\ncp -a %[3]s/. %[1]s/%[2]s/\n%[4]sbtrfs subvolume set-default %[1]s/%[2]s\n",
		top, Subvolume, sandbox.RootfsDir, linkBoot(content))
	image := sandbox.Mount{At: top, Source: filepath.Join(j.Dir, part), FileSystem: "btrfs", Writable: true}
	return j.run(ctx, []sandbox.Mount{image, j.rootfs(content)}, sandbox.Program{Script: script})
}

// linkBoot is the line of a script that makes the link.
func linkBoot(content Content) string {
	if !content.HasBoot {
		return ""
	}
	return fmt.Sprintf("ln -s %s/boot %s/boot\n", Subvolume, top)
}

// copyInto copies what a sparse file holds into another from a byte on.
func copyInto(to, from string, at int64) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for end := int64(0); ; {
		start, err := unix.Seek(int(in.Fd()), end, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // there is no more
			return nil
		}
		if err == nil {
			end, err = unix.Seek(int(in.Fd()), start, unix.SEEK_HOLE)
		}
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(out, at+start), io.NewSectionReader(in, start, end-start)); err != nil {
			return err
		}
	}
}
