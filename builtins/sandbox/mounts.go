package sandbox

import (
	"bufio"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// The table of mounts as the kernel shows it (proc(5), /proc/PID/mountinfo).

// A mount is one line of the table.
type mount struct {
	id     string
	device string // of the file system: major:minor
	root   string // the part of the file system that it shows
	at     string // where it is, below the directory that was asked about
	fstype string
	attr   uint64 // MOUNT_ATTR_RDONLY and the like
}

// attributes are those of mount_setattr(2) by the names that the table has for them.
var attributes = map[string]uint64{
	"ro": unix.MOUNT_ATTR_RDONLY, "nosuid": unix.MOUNT_ATTR_NOSUID, "nodev": unix.MOUNT_ATTR_NODEV, "noexec": unix.MOUNT_ATTR_NOEXEC,
}

func attributesOf(options string) (attr uint64) {
	for _, name := range strings.Split(options, ",") {
		attr |= attributes[name]
	}
	return attr
}

// is tells whether it is the mount that another one was, which may have got other attributes.
func (m mount) is(other mount) bool {
	m.attr = other.attr
	return m == other
}

// mountsOf returns the mounts below a directory of this thread, and that on it, in the
// order in which they lie on each other; "": below its root.
func mountsOf(dir string) ([]mount, error) {
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var list []mount
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m, ok := parseMount(lines.Text(), dir); ok {
			list = append(list, m)
		}
	}
	return list, lines.Err()
}

// parseMount reads a line, and tells whether the mount is in the directory.
func parseMount(line, dir string) (m mount, ok bool) {
	fields := strings.Fields(line)
	for i := 6; i+1 < len(fields); i++ {
		if fields[i] != "-" { // optional fields end here
			continue
		}
		at := unescape.Replace(fields[4])
		if at != dir && !strings.HasPrefix(at, dir+"/") {
			return m, false
		}
		at = path.Join("/", strings.TrimPrefix(at, dir))
		return mount{fields[0], fields[2], unescape.Replace(fields[3]), at, fields[i+1], attributesOf(fields[5])}, true
	}
	return m, false
}

var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// shownBy returns the path at which one of other mounts shows the same; "": none does.
func (m mount) shownBy(others []mount) (shown string) {
	longest := -1
	for _, o := range others {
		rest, ok := cutDir(m.root, o.root)
		if ok && o.device == m.device && len(o.root) > longest {
			longest, shown = len(o.root), path.Join(o.at, rest)
		}
	}
	return shown
}

// deleted tells a mount of what has no name any more, where it was mounted from.
func (m mount) deleted() bool { return strings.HasSuffix(m.root, "//deleted") }

// cutDir returns the rest of a path behind a directory.
func cutDir(name, dir string) (string, bool) {
	if dir == "/" || name == dir {
		return strings.TrimPrefix(name, dir), true
	}
	return strings.CutPrefix(name, dir+"/")
}
