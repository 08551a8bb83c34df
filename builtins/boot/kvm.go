package boot

import (
	"os"
	"slices"
	"strings"

	"imagebuilder/builtins/host"
)

// kvm tells whether the kernel runs the guest: else it is emulated, which takes several
// times as long.
func (q *qemu) kvm() bool {
	if !slices.Contains(q.machine.names, host.Machine()) || !q.machine.virtualizes(readCPUInfo()) {
		return false
	}
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

func readCPUInfo() string {
	text, _ := os.ReadFile("/proc/cpuinfo") // without it nothing is known of the processor
	return string(text)
}

// virtualizes tells whether a processor can run guests as they are, from what the kernel says
// of it. Where it cannot, there is a /dev/kvm in virtual machines of some clouds (kvm_pvm),
// which runs guests that are made for it: others never get beyond their firmware.
func (m machine) virtualizes(cpuinfo string) bool {
	if m.virtualization == nil {
		return true
	}
	for line := range strings.Lines(cpuinfo) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) == "flags" {
			return slices.ContainsFunc(strings.Fields(value), func(flag string) bool { return slices.Contains(m.virtualization, flag) })
		}
	}
	return false
}
