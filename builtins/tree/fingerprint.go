package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"path"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
)

// Fingerprint returns a digest that changes whenever something in the tree does. It
// looks at what the kernel knows of each file, among that the time of its last change,
// which no program can set: no content has to be read. It means nothing elsewhere.
func Fingerprint(r *dirfd.Dir) (string, error) {
	h := sha256.New()
	if err := fingerprint(h, r, "/"); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func fingerprint(h hash.Hash, r *dirfd.Dir, name string) error {
	st, err := r.Lstat(name)
	if err != nil {
		return err
	}
	fmt.Fprintln(h, name, st.Dev, st.Ino, st.Mode, st.Uid, st.Gid, st.Rdev, st.Size, st.Mtim, st.Ctim)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	names, err := r.ReadDir(name)
	if err != nil {
		return err
	}
	for _, base := range names {
		if err := fingerprint(h, r, path.Join(name, base)); err != nil {
			return err
		}
	}
	return nil
}
