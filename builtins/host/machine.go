package host

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// FreeMemory is how many bytes of memory programs that are started now can use, as the kernel
// estimates it; 0 if it does not.
func FreeMemory() int64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}

// Machine is the kernel's name of this machine, as uname(2) says it; "" if it does not.
func Machine() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Machine[:])
}
