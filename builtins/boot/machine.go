package boot

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/problems"
)

// The machines that QEMU is told to be: as LXD sets them up, but for devices that need the
// daemon.

// A machine is one of them.
type machine struct {
	names    []string // the kernel's name of it and others that LXD knows
	program  need
	board    []string
	firmware firmware
	secure   firmware // that checks signatures, with Microsoft's keys

	virtualization []string // flags of processors that run guests, of which they have one
}

// A firmware is a build of EDK II: its code, and the variables that it begins with.
type firmware struct {
	code, variables string
	pkg             string   // Debian package that brings both
	board           []string // what it needs of the board, in place of that of the machine
}

// A need is a program or a file of the host and the Debian package that brings it.
type need struct{ name, pkg string }

var machines = []machine{{
	names:    []string{"x86_64", "amd64"},
	program:  need{"qemu-system-x86_64", "qemu-system-x86"},
	board:    []string{"-machine", "q35"},
	firmware: firmware{code: "/usr/share/OVMF/OVMF_CODE_4M.fd", variables: "/usr/share/OVMF/OVMF_VARS_4M.fd", pkg: "ovmf"},
	secure: firmware{
		code: "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", variables: "/usr/share/OVMF/OVMF_VARS_4M.ms.fd", pkg: "ovmf",
		// Only code in System Management Mode may change the variables.
		board: []string{"-machine", "q35,smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1"},
	},
	virtualization: []string{"svm", "vmx"}, // by AMD and Intel
}, {
	names:    []string{"aarch64", "arm64"},
	program:  need{"qemu-system-aarch64", "qemu-system-arm"},
	board:    []string{"-machine", "virt"},
	firmware: firmware{code: "/usr/share/AAVMF/AAVMF_CODE.fd", variables: "/usr/share/AAVMF/AAVMF_VARS.fd", pkg: "qemu-efi-aarch64"},
	secure:   firmware{code: "/usr/share/AAVMF/AAVMF_CODE.ms.fd", variables: "/usr/share/AAVMF/AAVMF_VARS.ms.fd", pkg: "qemu-efi-aarch64"},
}}

func machineOf(architecture string) (machine, error) {
	var known []string
	for _, m := range machines {
		if slices.Contains(m.names, architecture) {
			return m, nil
		}
		known = append(known, m.names[0])
	}
	return machine{}, fmt.Errorf("no virtual machine is known for the architecture %q, only for %s", architecture, strings.Join(known, " and "))
}

func (m machine) firmwareFor(secure bool) firmware {
	f := m.firmware
	if secure {
		f = m.secure
	}
	if f.board == nil {
		f.board = m.board
	}
	return f
}

func (m machine) needs(secure bool) []need {
	f := m.firmwareFor(secure)
	return []need{m.program, {"qemu-img", "qemu-utils"}, {f.code, f.pkg}, {f.variables, f.pkg}}
}

// missing finds what the host does not have.
func (m machine) missing(secure bool) error {
	var errs []error
	for _, n := range m.needs(secure) {
		if !host.Installed(n.name) {
			errs = append(errs, host.Missing(n.name, n.pkg))
		}
	}
	return problems.Join(errs...)
}

// Needs are the programs and files of the host that the guest needs, with the Debian
// packages that bring them. An architecture that only the image knows is taken to be that of
// this machine.
func (g Guest) Needs() map[string]string {
	needs := make(map[string]string)
	m, err := machineOf(cmp.Or(g.Architecture, host.Machine()))
	if err != nil {
		return needs // whoever boots it is told
	}
	for _, n := range m.needs(g.SecureBoot) {
		needs[n.name] = n.pkg
	}
	return needs
}
