package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"strings"
	"unicode/utf16"

	"github.com/rogpeppe/go-internal/testscript"
)

// efidisk FILE TEXT makes the disk of a virtual machine, for x86_64, whose boot loader is all
// that is on it: it prints TEXT, as a line unless that ends in a space, and stays.
func efiDisk(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: efidisk FILE TEXT")
	}
	text := args[1]
	if !strings.HasSuffix(text, " ") {
		text += "\r\n"
	}
	disk, loader := ts.MkAbs(args[0]), ts.MkAbs("BOOTX64.EFI")
	ts.Check(os.WriteFile(disk, nil, 0o644))
	ts.Check(os.Truncate(disk, 48<<20))
	ts.Check(os.WriteFile(loader, efiProgram(text), 0o644))
	defer os.Remove(loader)
	for _, command := range [][]string{
		{"sgdisk", "--new=1:2048:+40M", "--typecode=1:EF00", disk},
		{"mkfs.vfat", "-F", "32", "-s", "1", "--offset", "2048", disk, "40960"},
		{"mmd", "-i", disk + "@@1M", "::EFI", "::EFI/BOOT"},
		{"mcopy", "-i", disk + "@@1M", loader, "::EFI/BOOT"},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			ts.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
}

// efiProgram is a program for UEFI on x86_64 that prints a text and halts. See the
// specification of UEFI, 4.3 and 12.4, for where the function is that prints, and that of
// PE for the headers.
func efiProgram(text string) []byte {
	const section, headers = 0x1000, 0x200
	code := []byte{
		0x48, 0x83, 0xec, 0x28, // sub rsp, 40
		0x48, 0x8b, 0x4a, 0x40, // mov rcx, [rdx+64]: the console of the system table
		0x48, 0x8d, 0x15, 6, 0, 0, 0, // lea rdx, [rip+6]: the text
		0xff, 0x51, 0x08, // call [rcx+8]: OutputString
		0xf4,       // hlt
		0xeb, 0xfd, // jmp back to it
	}
	code, _ = binary.Append(code, binary.LittleEndian, append(utf16.Encode([]rune(text)), 0))
	size := uint32(len(code)+headers-1) / headers * headers

	var b bytes.Buffer
	put := func(values ...any) {
		for _, v := range values {
			binary.Write(&b, binary.LittleEndian, v)
		}
	}
	put([]byte("MZ"), make([]byte, 58), uint32(64), []byte("PE\x00\x00"))
	put(uint16(0x8664), uint16(1), make([]byte, 12), uint16(240), uint16(0x22))                                                // one section
	put(uint16(0x20b), uint16(0), size, uint64(0), uint32(section), uint32(section))                                           // where the code begins
	put(uint64(0), uint32(section), uint32(headers), make([]byte, 16))                                                         // alignments
	put(uint32(2*section), uint32(headers), uint32(0), uint16(10), uint16(0), make([]byte, 36), uint32(16), make([]byte, 128)) // an EFI application
	put([]byte(".text\x00\x00\x00"), size, uint32(section), size, uint32(headers), make([]byte, 12), uint32(0x60000020))
	put(make([]byte, headers-b.Len()), code, make([]byte, int(size)-len(code)))
	return b.Bytes()
}
