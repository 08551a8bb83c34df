package layer_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/layer"
)

// A cache in which others can put something is refused, and nothing in it is touched.
func TestPlace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to give directories to others")
	}
	tests := []struct {
		name string
		make func(parent string) error // of parent/cache, which is not there yet
		err  string
	}{
		{"a new one", func(string) error { return nil }, ""},
		{"one of ours", func(p string) error { return os.Mkdir(p+"/cache", 0o755) }, ""},
		{"below a sticky directory", func(p string) error { return os.Chmod(p, 0o777|os.ModeSticky) }, ""},
		{"below a link", func(p string) error { return os.Symlink(t.TempDir(), p+"/cache") }, ""},
		{"of somebody else", func(p string) error {
			return errors.Join(os.Mkdir(p+"/cache", 0o755), os.Chown(p+"/cache", 1234, -1))
		}, "cache belongs to the user 1234"},
		{"below somebody else's", func(p string) error { return os.Chown(p, 1234, -1) }, "belongs to the user 1234"},
		{"writable by all", func(p string) error {
			return errors.Join(os.Mkdir(p+"/cache", 0o755), os.Chmod(p+"/cache", 0o777))
		}, "others can write to"},
		{"below one writable by a group", func(p string) error { return errors.Join(os.Chown(p, -1, 1234), os.Chmod(p, 0o775)) }, "others can write to"},
		{"below one writable by our group", func(p string) error { return os.Chmod(p, 0o775) }, ""},
		{"with a list of others who may write", func(p string) error {
			return errors.Join(os.Mkdir(p+"/cache", 0o700), letIn(p+"/cache", 7))
		}, "others can write to"},
		{"with a list of others who may read", func(p string) error {
			return errors.Join(os.Mkdir(p+"/cache", 0o770), letIn(p+"/cache", 5))
		}, ""},
		{"one that all can write to", func(p string) error {
			return errors.Join(os.MkdirAll(p+"/cache/staging", 0o755), os.Chmod(p+"/cache/staging", 0o777|os.ModeSticky))
		}, "others can write to"},
		{"a link in it", func(p string) error {
			return errors.Join(os.Mkdir(p+"/cache", 0o755), os.Symlink(p+"/precious", p+"/cache/staging"))
		}, "staging is not a directory"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			parent := filepath.Join(t.TempDir(), "parent")
			if err := os.MkdirAll(parent+"/precious/content", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := test.make(parent); err != nil {
				t.Fatal(err)
			}
			s, err := layer.Open(parent+"/cache", layer.Options{})
			if err == nil {
				s.Close()
			}
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("got %v, want %q", err, test.err)
			}
			if _, err := os.Stat(parent + "/precious/content"); err != nil {
				t.Error(err)
			}
		})
	}
}

// letIn gives a directory an access control list with which the user 1234 has rights on it.
func letIn(dir string, rights byte) error {
	list := []byte{2, 0, 0, 0} // version
	for _, e := range []struct {
		tag, rights byte
		id          uint32
	}{{1, 7, ^uint32(0)}, {2, rights, 1234}, {4, 7, ^uint32(0)}, {0x10, 7, ^uint32(0)}, {0x20, 0, ^uint32(0)}} {
		list = binary.LittleEndian.AppendUint32(append(list, e.tag, 0, e.rights, 0), e.id)
	}
	return unix.Setxattr(dir, "system.posix_acl_access", list, 0)
}

// Runs that start at once with a cache that is not there yet make one of it.
func TestPlaceOfMany(t *testing.T) {
	parent := t.TempDir()
	for i := range 100 {
		dir := filepath.Join(parent, strconv.Itoa(i))
		errs := make(chan error, 8)
		for range 8 {
			go func() {
				s, err := layer.Open(dir, layer.Options{})
				if err == nil {
					err = s.Close()
				}
				errs <- err
			}()
		}
		for range 8 {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
	}
}
