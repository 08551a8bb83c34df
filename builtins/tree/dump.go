package tree

import (
	"fmt"
	"io"
	"maps"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/dirfd"
)

// Dump writes one line for each file of a root, sorted by path, so that two trees
// can be compared as text and a difference read at once:
//
//	/bin/ping file 0755 0:0 77432 5b41362bc2f2 security.capability=0100000200200000
//	/etc/mtab link 0777 0:0 ../proc/self/mounts
//	/dev/null char 0666 0:0 1:3
//	/usr/bin/perl hard /usr/bin/perl5.36
//
// The fields are path, type, mode, owner and group, then size and the first 12
// digits of the SHA-256 of a regular file, the text of a link or the numbers of a
// device, then the extended attributes. Times are left out.
func Dump(w io.Writer, r *dirfd.Dir) error {
	d := dumper{w: w, root: r, seen: make(map[inode]string)}
	return d.node("/")
}

type dumper struct {
	w    io.Writer
	root *dirfd.Dir
	seen map[inode]string
}

func (d *dumper) node(name string) error {
	st, err := d.root.Lstat(name)
	if err != nil {
		return err
	}
	if err := d.line(name, st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return err
	}
	names, err := d.root.ReadDir(name)
	if err != nil {
		return err
	}
	for _, base := range names {
		if err := d.node(path.Join(name, base)); err != nil {
			return err
		}
	}
	return nil
}

func (d *dumper) line(name string, st unix.Stat_t) error {
	if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		key := inode{uint64(st.Dev), st.Ino}
		if first, ok := d.seen[key]; ok {
			_, err := fmt.Fprintln(d.w, name, "hard", first)
			return err
		}
		d.seen[key] = name
	}
	kind, rest, err := d.describe(name, st)
	if err != nil {
		return err
	}
	attrs, err := d.attributes(name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(d.w, "%s %s %04o %d:%d%s%s\n", name, kind, st.Mode&0o7777, st.Uid, st.Gid, rest, attrs)
	return err
}

func (d *dumper) describe(name string, st unix.Stat_t) (kind, rest string, err error) {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "dir", "", nil
	case unix.S_IFLNK:
		text, err := d.root.Readlink(name)
		return "link", " " + text, err
	case unix.S_IFREG:
		sum, err := d.digest(name)
		return "file", fmt.Sprintf(" %d %.12s", st.Size, sum), err
	case unix.S_IFIFO:
		return "fifo", "", nil
	case unix.S_IFSOCK:
		return "sock", "", nil
	case unix.S_IFBLK:
		kind = "block"
	case unix.S_IFCHR:
		kind = "char"
	}
	return kind, fmt.Sprintf(" %d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))), nil
}

func (d *dumper) digest(name string) (string, error) {
	f, err := d.root.OpenFile(name, unix.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum, _, err := digest.Reader(f)
	return sum.String(), err
}

func (d *dumper) attributes(name string) (text string, err error) {
	err = d.root.ProcPath("read attributes", name, func(file string) error {
		all, err := attributes(file)
		for _, attr := range slices.Sorted(maps.Keys(all)) {
			text += fmt.Sprintf(" %s=%x", attr, all[attr])
		}
		return err
	})
	return text, err
}
