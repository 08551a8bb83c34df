package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/sandbox"
)

// How a disk is made of a finished tree: the parts are written into one sparse file at their
// places.

// A Job is a disk to be made of a root file system.
type Job struct {
	Disk  Disk
	Stack sandbox.Stack
	Dir   string    // directory of the host that gets the file
	Out   io.Writer // output of the programs
	Log   *slog.Logger
	Epoch host.Epoch // of file systems
}

// Where programs find things.
const (
	outDir   = sandbox.FilesDir + "/out"
	wholeDir = "/tmp/whole" // the root file system with its EFI system partition
)

// Needs are the programs that make a disk.
func (d Disk) Needs() []string {
	list := []string{"sgdisk", "mkfs.vfat", "mcopy"}
	if d.FileSystem == "btrfs" {
		return append(list, "mkfs.btrfs", "btrfs")
	}
	return append(list, "mke2fs")
}

// environ is the environment of all of them. Times on FAT are local ones.
func environ(epoch host.Epoch) []string {
	env := map[string]string{"TZ": "UTC", "MTOOLS_SKIP_CHECK": "1"}
	if epoch != "" {
		env["E2FSPROGS_FAKE_TIME"] = string(epoch)
	}
	return epoch.In(host.Environ(env))
}

// Raw makes the disk as it is, in a sparse file of that name.
func (j Job) Raw(ctx context.Context, name string) error {
	content, err := Looking.Run(ctx, []sandbox.Stack{j.Stack}, false)
	if err == nil {
		err = j.Disk.checkESP(content)
	}
	if err != nil {
		return err
	}
	if doubts := content.Doubts(); len(doubts) > 0 {
		j.Log.Warn("the disk will not boot: " + strings.Join(doubts, ", and "))
	}
	if err := sparse(filepath.Join(j.Dir, name), j.Disk.Size); err != nil {
		return err
	}
	if err := j.run(ctx, nil, sandbox.Program{Args: j.Disk.table(path.Join(outDir, name))}); err != nil {
		return fmt.Errorf("cannot make the partition table: %w", err)
	}
	if err := j.esp(ctx, name, content); err != nil {
		return fmt.Errorf("cannot make the EFI partition: %w", err)
	}
	if j.Disk.FileSystem == "btrfs" {
		err = j.btrfs(ctx, name, content)
	} else {
		err = j.ext4(ctx, name, content)
	}
	if err != nil {
		return fmt.Errorf("cannot make the %s file system: %w", j.Disk.FileSystem, err)
	}
	return nil
}

// Compressions are those of a qcow2 disk, the default first.
var Compressions = []string{"zlib", "zstd", "none"}

// QCow2 makes a qcow2 disk of the one that Raw has made, which it removes. What is zero in that
// it does not hold. The method is one of Compressions.
func (j Job) QCow2(ctx context.Context, raw, name, method string) error {
	args := []string{"qemu-img", "convert", "-q", "-m", strconv.Itoa(min(16, max(2, 2*runtime.NumCPU()))), "-f", "raw", "-O", "qcow2"}
	if j.Epoch == "" {
		args = append(args, "-W") // what is compressed first is written first, which is faster, and never the same
	}
	if method != "none" {
		args = append(args, "-c", "-o", "compression_type="+method)
	}
	if err := j.run(ctx, nil, sandbox.Program{Args: append(args, path.Join(outDir, raw), path.Join(outDir, name))}); err != nil {
		return fmt.Errorf("cannot compress the disk: %w", err)
	}
	return os.Remove(filepath.Join(j.Dir, raw))
}

// run runs programs of this machine that find the job's directory, and what is mounted besides.
func (j Job) run(ctx context.Context, mounts []sandbox.Mount, programs ...sandbox.Program) error {
	spec := sandbox.Spec{
		Mounts:  append([]sandbox.Mount{{At: outDir, Source: j.Dir, Writable: true}}, mounts...),
		NoSync:  true, // the store syncs the result
		NoNet:   true,
		AnyNode: true,
	}
	return sandbox.Run(ctx, spec, sandbox.Programs{List: programs, Env: environ(j.Epoch)}, j.Out)
}

// rootfs is the root file system as the root partition has it.
func (j Job) rootfs(content Content) sandbox.Mount {
	m := sandbox.Mount{At: sandbox.RootfsDir, Stack: &j.Stack}
	if content.HasESP {
		m.Hidden = ESP
	}
	return m
}

// table makes the partition table, a GUID one.
func (d Disk) table(file string) []string {
	args := []string{"sgdisk", "--clear", "--disk-guid=" + d.TableUUID}
	for i, p := range []struct {
		span
		kind, uuid string
	}{{d.espSpan(), "EF00", d.ESPPart}, {d.rootSpan(), "8300", d.PartUUID}} {
		args = append(args, fmt.Sprintf("--new=%d:%d:%d", i+1, p.start/sector, (p.start+p.size)/sector-1),
			fmt.Sprintf("--typecode=%d:%s", i+1, p.kind), fmt.Sprintf("--partition-guid=%d:%s", i+1, p.uuid),
			fmt.Sprintf("--change-name=%d:%s", i+1, d.Names[i]))
	}
	return append(args, file)
}

// mkfs makes an empty root file system in a part of a file.
func (d Disk) mkfs(file string, at span) []string {
	if d.FileSystem == "btrfs" {
		return append(append([]string{"mkfs.btrfs", "-f", "-q", "-L", RootLabel, "-U", d.UUID}, d.Options...), file)
	}
	// Blocks of 4 KiB, an inode for 8 KiB, nothing kept for root, room to grow to 2 TiB.
	args := []string{
		"mke2fs", "-q", "-F", "-t", "ext4", "-b", strconv.Itoa(blockSize), "-i", "8192", "-m", "0", "-L", RootLabel, "-U", d.UUID,
		"-E", fmt.Sprintf("resize=536870912,hash_seed=%s,offset=%d", d.UUID, at.start),
	}
	return append(append(args, d.Options...), file, strconv.FormatInt(at.size/blockSize, 10))
}

func (j Job) ext4(ctx context.Context, name string, content Content) error {
	file := path.Join(outDir, name)
	empty := j.Disk.mkfs(file, j.Disk.rootSpan())
	if err := j.run(ctx, nil, sandbox.Program{Args: empty}); err != nil {
		return err
	}
	if err := j.checkRoom(filepath.Join(j.Dir, name), content); err != nil {
		return err
	}
	filled := append(empty[:1:1], append([]string{"-d", sandbox.RootfsDir}, empty[1:]...)...)
	if err := j.run(ctx, []sandbox.Mount{j.rootfs(content)}, sandbox.Program{Args: filled}); err != nil {
		return err
	}
	return j.settle(name)
}

// checkRoom finds out whether an empty ext4 file system has room: its superblock says how many
// blocks and inodes are free, at the offsets that the kernel's documentation names
// (https://docs.kernel.org/filesystems/ext4/globals.html#super-block).
func (j Job) checkRoom(file string, content Content) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	super := make([]byte, 1024)
	if _, err := f.ReadAt(super, j.Disk.rootSpan().start+1024); err != nil {
		return err
	}
	if binary.LittleEndian.Uint16(super[0x38:]) != 0xef53 {
		return errors.New("mke2fs has made no ext4 file system")
	}
	blocks := int64(binary.LittleEndian.Uint32(super[0x0c:])) | int64(binary.LittleEndian.Uint32(super[0x158:]))<<32
	inodes := int64(binary.LittleEndian.Uint32(super[0x10:]))
	missing := max(content.Blocks-blocks, (content.Inodes-inodes)*2) // an inode for two blocks
	if missing <= 0 {
		return nil
	}
	return j.Disk.tooSmall(missing * blockSize * 34 / 32) // with the inodes of as much more
}

// tooSmall says what size would do.
func (d Disk) tooSmall(missing int64) error {
	needed := (d.Size + missing + 16<<20 + alignment - 1) / alignment
	return fmt.Errorf("the disk is too small: %s, and what is to be on it takes about %s; a size of %dMiB is enough",
		bytesize.Size(d.Size), bytesize.Size(needed*alignment), needed)
}
