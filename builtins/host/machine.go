package host

import "golang.org/x/sys/unix"

// Machine is the kernel's name of this machine, as uname(2) says it; "" if it does not.
func Machine() string {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return ""
	}
	return unix.ByteSliceToString(name.Machine[:])
}
