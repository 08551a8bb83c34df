package sandbox

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// maxProcesses is how many processes and threads the programs of one child may be at a
// time: far more than builds have, far less than a host can bear.
const maxProcesses = 8192

// limitProcesses sets the limit where the kernel has one for each PID namespace, from 6.14
// on; before that the setting is the host's. proc is where the namespace's /proc is.
func limitProcesses(proc string) error {
	var name unix.Utsname
	var major, minor int
	if unix.Uname(&name) != nil {
		return nil
	}
	fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	if major < 6 || major == 6 && minor < 14 {
		return nil
	}
	err := os.WriteFile(filepath.Join(proc, "sys/kernel/pid_max"), fmt.Append(nil, maxProcesses), 0)
	if err != nil {
		return fmt.Errorf("cannot limit the number of processes: %w", err)
	}
	return nil
}
