package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// mke2fs before 1.47.1 copies when files were last read, and when their inodes were changed,
// which is different in each build. All that an image says of time are the times of changes,
// none after the epoch. The layout is at https://docs.kernel.org/filesystems/ext4.

// Offsets and bits of an ext4 file system.
const (
	superAt, superSize = 1024, 1024

	incompatMetaBG, incompat64Bit, incompatSeed = 0x10, 0x80, 0x2000
	roCompatChecksum                            = 0x400
	groupNoInodes                               = 1

	rootInode, firstInode = 2, 11
	oldInodeSize          = 128
)

// settleTimes gives the inodes of an ext4 file system, which begins there in a file, times by
// which it is the same in each build with that epoch.
func settleTimes(file *os.File, start, epoch int64) error {
	fs := ext4{file: file, start: start, epoch: epoch}
	if err := fs.open(); err != nil {
		return err
	}
	for group := range fs.groups {
		if err := fs.settleGroup(int64(group)); err != nil {
			return err
		}
	}
	return nil
}

// An ext4 is a file system in a part of a file.
type ext4 struct {
	file         *os.File
	start, epoch int64

	block, descSize, inodeSize int64
	firstGroup                 int64 // the block of the descriptors of groups
	groups, perGroup           int64
	checksums                  bool
	seed                       uint32 // of checksums
}

func (fs *ext4) open() error {
	super := make([]byte, superSize)
	if _, err := fs.file.ReadAt(super, fs.start+superAt); err != nil {
		return err
	}
	u16 := func(at int) int64 { return int64(binary.LittleEndian.Uint16(super[at:])) }
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(super[at:])) }
	if u16(0x38) != 0xef53 {
		return errors.New("mke2fs has made no ext4 file system")
	}
	incompat := u32(0x60)
	if u32(0x18) > 6 || u32(0x28) == 0 || u16(0x58) < oldInodeSize || incompat&incompatMetaBG != 0 {
		return errors.New("the file system has a form in which its times cannot be the same each time; leave out the option meta_bg, or build without an epoch")
	}
	fs.block, fs.inodeSize, fs.perGroup = 1024<<u32(0x18), u16(0x58), u32(0x28)
	fs.firstGroup, fs.groups, fs.descSize = u32(0x14)+1, (u32(0)+fs.perGroup-1)/fs.perGroup, 32
	if incompat&incompat64Bit != 0 {
		fs.descSize = u16(0xfe)
	}
	fs.checksums = u32(0x64)&roCompatChecksum != 0
	fs.seed = crc(^uint32(0), super[0x68:0x78]) // the UUID
	if incompat&incompatSeed != 0 {
		fs.seed = uint32(u32(0x270))
	}
	return nil
}

// settleGroup does the inodes of one group.
func (fs *ext4) settleGroup(group int64) error {
	desc := make([]byte, max(64, fs.descSize))
	if _, err := fs.file.ReadAt(desc[:fs.descSize], fs.start+fs.firstGroup*fs.block+group*fs.descSize); err != nil {
		return err
	}
	if binary.LittleEndian.Uint16(desc[0x12:])&groupNoInodes != 0 {
		return nil
	}
	table := int64(binary.LittleEndian.Uint32(desc[0x08:])) | int64(binary.LittleEndian.Uint32(desc[0x28:]))<<32
	unused := int64(binary.LittleEndian.Uint16(desc[0x1c:])) | int64(binary.LittleEndian.Uint16(desc[0x32:]))<<16
	inodes := make([]byte, max(0, fs.perGroup-unused)*fs.inodeSize)
	at := fs.start + table*fs.block
	if _, err := fs.file.ReadAt(inodes, at); err != nil && err != io.EOF {
		return err
	}
	for i := range int64(len(inodes)) / fs.inodeSize {
		inode, number := inodes[i*fs.inodeSize:(i+1)*fs.inodeSize], uint32(group*fs.perGroup+i+1)
		if number != rootInode && number < firstInode || binary.LittleEndian.Uint16(inode[0x1a:]) == 0 { // it has no name
			continue
		}
		if fs.checksums && fs.checksum(inode, number) != storedChecksum(inode) {
			return fmt.Errorf("the inode %d has another checksum than it should", number)
		}
		fs.settle(inode)
		if fs.checksums {
			storeChecksum(inode, fs.checksum(inode, number))
		}
	}
	_, err := fs.file.WriteAt(inodes, at)
	return err
}

// settle has an inode say one time only.
func (fs *ext4) settle(inode []byte) {
	seconds := binary.LittleEndian.Uint32(inode[0x10:])
	more := uint32(0) // two bits of the seconds, then nanoseconds
	if extra(inode) >= 0x8c-oldInodeSize {
		more = binary.LittleEndian.Uint32(inode[0x88:])
	}
	if int64(int32(seconds))+int64(more&3)<<32 >= fs.epoch {
		seconds, more = uint32(fs.epoch), uint32((fs.epoch-int64(int32(fs.epoch)))>>32&3)
	}
	for _, at := range []int{0x08, 0x0c, 0x10} {
		binary.LittleEndian.PutUint32(inode[at:], seconds)
	}
	for _, at := range []int{0x84, 0x88, 0x8c} {
		if extra(inode) >= at+4-oldInodeSize {
			binary.LittleEndian.PutUint32(inode[at:], more)
		}
	}
}

// extra is how much an inode has behind the size that all have.
func extra(inode []byte) int {
	if len(inode) == oldInodeSize {
		return 0
	}
	return int(binary.LittleEndian.Uint16(inode[0x80:]))
}

// checksum is what an inode is to have. It is taken with zeros where it stands.
func (fs *ext4) checksum(inode []byte, number uint32) uint32 {
	plain := append([]byte(nil), inode...)
	storeChecksum(plain, 0)
	sum := crc(fs.seed, binary.LittleEndian.AppendUint32(nil, number))
	sum = crc(crc(sum, inode[0x64:0x68]), plain) // its generation
	if extra(inode) < 4 {
		sum &= 0xffff
	}
	return sum
}

func storedChecksum(inode []byte) uint32 {
	sum := uint32(binary.LittleEndian.Uint16(inode[0x7c:]))
	if extra(inode) >= 4 {
		sum |= uint32(binary.LittleEndian.Uint16(inode[0x82:])) << 16
	}
	return sum
}

func storeChecksum(inode []byte, sum uint32) {
	binary.LittleEndian.PutUint16(inode[0x7c:], uint16(sum))
	if extra(inode) >= 4 {
		binary.LittleEndian.PutUint16(inode[0x82:], uint16(sum>>16))
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// crc is CRC-32C as ext4 takes it, which inverts nothing.
func crc(sum uint32, data []byte) uint32 { return ^crc32.Update(^sum, castagnoli, data) }

// settle has the root file system of a disk be the same in each build, if there is an epoch.
func (j Job) settle(name string) (err error) {
	if j.Epoch == "" {
		return nil
	}
	file, err := os.OpenFile(filepath.Join(j.Dir, name), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return settleTimes(file, j.Disk.rootSpan().start, j.Epoch.Seconds())
}
