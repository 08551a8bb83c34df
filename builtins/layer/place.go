package layer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/host"
)

// Where a cache may be: whoever can write to it, or rename what it stands in, decides what
// root reads, removes and packs.

// makePlace makes the directories of a store and refuses those in which others can put
// something. It returns the path of the store without symbolic links.
func makePlace(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("cannot make the cache: %w", err)
	}
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("cannot open the cache: %w", err)
	}
	if err := checkPlace(dir, []int{os.Geteuid()}, unix.S_ISVTX); err != nil {
		return "", err
	}
	above := []int{0, os.Geteuid()}
	if host.Confined() {
		above = append(above, nobody) // which the machine's root looks like from within
	}
	for at := dir; at != "/"; {
		at = filepath.Dir(at)
		if err := checkPlace(at, above, unix.S_ISVTX); err != nil {
			return "", err
		}
	}
	if err := errors.Join(checkIDMap(dir), checkFileSystem(dir)); err != nil {
		return "", err
	}
	for _, name := range subdirectories {
		sub := filepath.Join(dir, name)
		if err := os.Mkdir(sub, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return "", fmt.Errorf("cannot make the cache: %w", err)
		}
		if err := checkPlace(sub, []int{os.Geteuid()}, 0); err != nil {
			return "", err
		}
	}
	if err := claim(dir); err != nil {
		return "", err
	}
	return dir, nil
}

// checkFileSystem refuses one on which there cannot be files of subordinate ids, of which a server
// knows nothing.
func checkFileSystem(dir string) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return &os.PathError{Op: "statfs", Path: dir, Err: err}
	}
	if name, remote := remoteFileSystems[int64(st.Type)]; remote && host.Confined() {
		return fmt.Errorf("cannot use the cache %s: it is on %s, which has no files of subordinate ids; choose another cache with --cache", dir, name)
	}
	return nil
}

// remoteFileSystems are those that leave owners to a server, by their numbers in statfs(2).
var remoteFileSystems = map[int64]string{unix.NFS_SUPER_MAGIC: "NFS", unix.CIFS_SUPER_MAGIC: "CIFS", unix.SMB2_SUPER_MAGIC: "SMB", unix.V9FS_MAGIC: "9p", unix.AFS_SUPER_MAGIC: "AFS"}

// nobody is who owns, in a user namespace, what belongs to users that it does not know.
const nobody = 65534

// checkPlace refuses a directory that belongs to somebody else, or that others can write to,
// unless it has the sticky bit and that is enough, as in /tmp, where all may only make. Our
// own group is no other: with the umask 002 it has no more than this user.
func checkPlace(dir string, owners []int, sticky uint32) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: dir, Err: err}
	}
	const next = "choose another cache with --cache"
	others := uint32(0o002)
	if int(st.Gid) != os.Getegid() || listed(dir) {
		others |= 0o020
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("cannot use the cache: %s is not a directory; %s", dir, next)
	case !slices.Contains(owners, int(st.Uid)):
		who := fmt.Sprintf("the user %d", st.Uid)
		if st.Uid == nobody && host.Confined() {
			who = "another user"
		}
		return fmt.Errorf("cannot use the cache: %s belongs to %s, who could put anything into it; %s", dir, who, next)
	case st.Mode&others != 0 && st.Mode&sticky == 0:
		return fmt.Errorf("cannot use the cache: others can write to %s; take that from them, or %s", dir, next)
	}
	return nil
}

// listed tells whether an access control list lets others write to a directory, as far as the
// bits of the mode for the group do (acl(5)).
func listed(dir string) bool {
	var list [4096]byte // a version of four bytes, and entries of eight
	n, err := unix.Lgetxattr(dir, "system.posix_acl_access", list[:])
	if err != nil {
		return err == unix.ERANGE // very many are in it
	}
	const user, group, write = 2, 8, 2
	for at := 4; at+8 <= n; at += 8 {
		tag, may := list[at], list[at+2]
		if (tag == user || tag == group) && may&write != 0 {
			return true
		}
	}
	return false
}
