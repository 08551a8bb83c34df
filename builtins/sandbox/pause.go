package sandbox

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"runtime"
)

// A program that waits to be killed, for a process that is to hold namespaces. Programs of a step
// may look into it, so it is none that is a file of the host.

// pauseCode is what it does, in a loop: pause(), or ppoll() where there is no such call.
var pauseCode = map[string]struct {
	machine elf.Machine
	code    []uint32
}{
	// mov $34, %eax; syscall; jmp to the first
	"amd64": {elf.EM_X86_64, []uint32{0x000022b8, 0xeb050f00, 0x000000f7}},
	// mov x0 to x4, #0; mov x8, #73; svc #0; b to the first
	"arm64": {elf.EM_AARCH64, []uint32{0xd2800000, 0xd2800001, 0xd2800002, 0xd2800003, 0xd2800004, 0xd2800928, 0xd4000001, 0x17fffff9}},
}

// pause is the program as an ELF file: two headers and the code.
func pause() string {
	const (
		base    = 0x400000
		headers = 64 + 56
	)
	p := pauseCode[runtime.GOARCH]
	size := uint64(headers + 4*len(p.code))
	var b bytes.Buffer
	for _, part := range []any{
		elf.Header64{
			Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
			Type:  uint16(elf.ET_EXEC), Machine: uint16(p.machine), Version: uint32(elf.EV_CURRENT),
			Entry: base + headers, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
		},
		elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: 0x10000,
		},
		p.code,
	} {
		binary.Write(&b, binary.LittleEndian, part) // to memory
	}
	return b.String()
}
