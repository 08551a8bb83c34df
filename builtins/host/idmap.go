package host

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// What the user namespace of this process makes of ids: see user_namespaces(7).

// Confined tells whether this process is in a user namespace of which the kernel knows other
// ids than those seen inside: its root is somebody else's, who may not do all that root may.
// It is asked where that matters, in few packages: a test counts them.
var Confined = sync.OnceValue(func() bool {
	for _, name := range idMaps {
		if m, err := os.ReadFile(name); err == nil && !identity(string(m)) {
			return true
		}
	}
	return false
})

var idMaps = [2]string{"/proc/self/uid_map", "/proc/self/gid_map"}

// allIDs is how many ids the kernel has.
const allIDs = 1<<32 - 1

func identity(idMap string) bool {
	return strings.Join(strings.Fields(idMap), " ") == fmt.Sprint("0 0 ", uint32(allIDs))
}

// IDMap is the map of users' and groups' ids in one line, "" where it is the identity. Files
// that were made under one are those of strangers under another.
func IDMap() (string, error) {
	if !Confined() {
		return "", nil
	}
	var both []string
	for _, name := range idMaps {
		m, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		var ranges []string
		for line := range strings.Lines(string(m)) {
			ranges = append(ranges, strings.Join(strings.Fields(line), " "))
		}
		both = append(both, strings.Join(ranges, ", "))
	}
	return "users " + both[0] + "; groups " + both[1], nil
}
