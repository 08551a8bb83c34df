package magic

import "encoding/binary"

// Machine tells for which machine a program is whose file begins so, by the kernel's name
// of it; "" if it is no ELF file or for none that is known. See elf(5): the class is in byte
// 4, the order of bytes in byte 5, the machine at 18.
func Machine(head []byte) string {
	if len(head) < 20 || string(head[:4]) != "\x7fELF" {
		return ""
	}
	class, little := head[4], head[5] == 1
	machine := binary.BigEndian.Uint16(head[18:])
	if little {
		machine = binary.LittleEndian.Uint16(head[18:])
	}
	for _, m := range machines {
		if m.machine == machine && (m.class == 0 || m.class == class) && (!m.little || little) {
			return m.name
		}
	}
	return ""
}

// machines are the first that fits: of a class, 1 for 32 bits and 2 for 64, if not any.
var machines = []struct {
	machine uint16
	class   byte
	little  bool
	name    string
}{
	{3, 0, false, "i686"},
	{62, 0, false, "x86_64"},
	{40, 0, false, "arm"},
	{183, 0, false, "aarch64"},
	{20, 0, false, "ppc"},
	{21, 0, true, "ppc64le"},
	{21, 0, false, "ppc64"},
	{22, 0, false, "s390x"},
	{8, 1, false, "mips"},
	{8, 2, false, "mips64"},
	{243, 1, false, "riscv32"},
	{243, 2, false, "riscv64"},
	{258, 0, false, "loongarch64"},
}

// Programs are how files begin that are programs for a machine, by the kernel's name of it:
// none if it is not known, more than one if it has programs of several classes or orders.
// There is enough of a program for a kernel to start it, and for nothing else: it has one
// segment, which is none.
func Programs(name string) (heads [][]byte) {
	for _, m := range machines {
		for class := byte(1); class <= 2; class++ {
			for data, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
				head := program(m.machine, class, order)
				head[5] = byte(data + 1)
				if m.name == name && Machine(head) == name {
					heads = append(heads, head)
				}
			}
		}
	}
	return heads
}

// program makes the header of an ELF file and what it says of a segment, of type PT_NULL.
func program(machine uint16, class byte, order binary.ByteOrder) []byte {
	const executable, version, eabi5 = 2, 1, 5 << 24 // the last is a flag of 32-bit ARM, and of others nothing
	head := make([]byte, Length)
	copy(head, "\x7fELF")
	head[4], head[6] = class, version
	order.PutUint16(head[16:], executable)
	order.PutUint16(head[18:], machine)
	order.PutUint32(head[20:], version)
	if class == 1 {
		order.PutUint32(head[28:], 52) // where segments are, behind this header
		order.PutUint32(head[36:], eabi5)
		order.PutUint16(head[40:], 52)
		order.PutUint16(head[42:], 32) // size of one
		order.PutUint16(head[44:], 1)
		return head
	}
	order.PutUint64(head[32:], 64)
	order.PutUint16(head[52:], 64)
	order.PutUint16(head[54:], 56)
	order.PutUint16(head[56:], 1)
	return head
}
