package layer

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
)

// A store belongs to one map of ids: the files of its layers have owners that are others, or
// nobody, under another, and overlayfs keeps its books in attributes that only one of them sees.

// idMapFile is the file of a store that says which it is.
const idMapFile = "idmap"

// maxIDMap bounds what is read of it.
const maxIDMap = 64 << 10

// noIDMap is what it says where ids are those of the machine, as they are for root.
const noIDMap = "none"

// checkIDMap refuses a store that belongs to another map of ids than this process has.
func checkIDMap(dir string) error {
	mine, err := idMap()
	if err != nil {
		return err
	}
	its, err := storedIDMap(dir)
	if err != nil || its == "" || its == mine {
		return err
	}
	const next = "choose another cache with --cache"
	switch {
	case its == noIDMap:
		return fmt.Errorf("cannot use the cache %s: its layers were made by root, and this is a user namespace; %s", dir, next)
	case mine == noIDMap:
		return fmt.Errorf("cannot use the cache %s: its layers were made in a user namespace, with --rootless or by another user; %s", dir, next)
	}
	return fmt.Errorf("cannot use the cache %s: its layers were made with other subordinate ids (%s) than there are now (%s); %s, or remove it as root", dir, its, mine, next)
}

// storedIDMap is what a store belongs to; "": to nothing yet.
func storedIDMap(dir string) (string, error) {
	f, err := os.OpenFile(filepath.Join(dir, idMapFile), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err == nil {
		defer f.Close()
		text, err := dirfd.ReadRegular(f, maxIDMap)
		return strings.TrimSpace(string(text)), err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	// Earlier versions have made stores of root only, without the file.
	names, err := os.ReadDir(filepath.Join(dir, "results"))
	if err == nil && len(names) > 0 {
		return noIDMap, nil
	}
	return "", nil
}

// claim makes a store that belongs to nothing yet one of this process's map.
func claim(dir string) error {
	mine, err := idMap()
	if err != nil {
		return err
	}
	if _, err := os.Lstat(filepath.Join(dir, idMapFile)); err == nil {
		return nil
	}
	guard, err := guard(dir, unix.LOCK_SH) // else another process takes the draft for a leftover
	if err != nil {
		return err
	}
	defer guard.Close()
	draft := filepath.Join(dir, "staging", rand.Text())
	if err := os.WriteFile(draft, []byte(mine+"\n"), 0o600); err != nil {
		return err
	}
	defer os.Remove(draft)
	if err := os.Link(draft, filepath.Join(dir, idMapFile)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return checkIDMap(dir)
}

func idMap() (string, error) {
	m, err := host.IDMap()
	if m == "" {
		m = noIDMap
	}
	return m, err
}
