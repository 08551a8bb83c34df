package pack_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/pack"
)

// set is an image of two files, in a directory of its own.
func set(t *testing.T, texts ...string) []pack.Result {
	t.Helper()
	dir := t.TempDir()
	var results []pack.Result
	for i, text := range texts {
		name := []string{"meta", "rootfs"}[i]
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(text))
		results = append(results, pack.Result{Path: filepath.Join(dir, name), Name: name, Size: int64(len(text)), SHA256: hex.EncodeToString(sum[:])})
	}
	return results
}

// there is what a directory holds.
func there(t *testing.T, dir string) string {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, n := range names {
		text, err := os.ReadFile(filepath.Join(dir, n.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n.Name()+"="+string(text))
	}
	return strings.Join(all, " ")
}

// Wherever the process is killed, the files that are there belong together, and the next run
// leaves nothing else.
func TestPublishIsKilled(t *testing.T) {
	killed := errors.New("killed")
	tests := []struct {
		summary       string
		before, after []string
	}{
		{"both are new", []string{"old meta", "old rootfs"}, []string{"new meta", "new rootfs"}},
		{"the metadata are new", []string{"old meta", "rootfs"}, []string{"new meta", "rootfs"}},
		{"the rootfs is new", []string{"meta", "old rootfs"}, []string{"meta", "new rootfs"}},
		{"nothing was there", nil, []string{"new meta", "new rootfs"}},
	}
	for _, test := range tests {
		for at := 0; ; at++ {
			dir := t.TempDir()
			before, after := set(t, test.before...), set(t, test.after...)
			if err := pack.Publish(context.Background(), dir, before); err != nil {
				t.Fatal(err)
			}
			// Where the file system has no files without names, a kill leaves one with a hidden name.
			if err := os.WriteFile(filepath.Join(dir, ".rootfs.tmp"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			d, err := dirfd.Open(dir, dirfd.Refuse)
			if err != nil {
				t.Fatal(err)
			}
			changes := 0
			d.Fault = func(string, string) error {
				if changes++; changes > at {
					return killed
				}
				return nil
			}
			err = pack.PublishIn(context.Background(), d, after)
			d.Close()
			seen := there(t, dir)
			hidden := false
			for _, field := range []string{".meta.tmp=", ".rootfs.tmp="} {
				hidden = hidden || strings.Contains(seen, field)
			}
			os.Remove(filepath.Join(dir, ".meta.tmp"))
			os.Remove(filepath.Join(dir, ".rootfs.tmp"))
			seen = there(t, dir)
			pairs := []string{together(test.before), together(test.after)}
			if strings.Contains(seen, "meta=") && seen != pairs[0] && seen != pairs[1] {
				t.Errorf("%s, killed at change %d: there are %s", test.summary, at, seen)
			}
			if err == nil {
				if seen != pairs[1] || hidden {
					t.Errorf("%s: there are %s, hidden files: %v", test.summary, seen, hidden)
				}
				break
			}
			if err := pack.Publish(context.Background(), dir, after); err != nil || there(t, dir) != pairs[1] {
				t.Errorf("%s, after a kill at change %d: there are %s: %v", test.summary, at, there(t, dir), err)
			}
		}
	}
}

// together is a directory with a whole set.
func together(texts []string) string {
	if texts == nil {
		return ""
	}
	return "meta=" + texts[0] + " rootfs=" + texts[1]
}

// What was killed and is there meanwhile leaves nothing, either.
func TestPublishTidies(t *testing.T) {
	dir := t.TempDir()
	image := set(t, "meta", "rootfs")
	for range 2 {
		if err := os.WriteFile(filepath.Join(dir, ".meta.tmp"), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := pack.Publish(context.Background(), dir, image); err != nil {
			t.Fatal(err)
		}
		if got := there(t, dir); got != "meta=meta rootfs=rootfs" {
			t.Errorf("there are %s", got)
		}
	}
}

// What was published and has not changed since is not read again, and any change is noticed.
func TestPublishedBefore(t *testing.T) {
	dir := t.TempDir()
	image := set(t, "meta", "rootfs")
	publish := func(image []pack.Result) {
		t.Helper()
		if err := pack.Publish(context.Background(), dir, image); err != nil {
			t.Fatal(err)
		}
	}
	publish(image)
	unread := slices.Clone(image)
	for i := range unread { // reading would find another digest, and then no file
		unread[i].SHA256, unread[i].Path = "unread", filepath.Join(dir, "none")
		unread[i].Seen.SHA256 = "unread"
	}
	publish(unread)
	file := filepath.Join(dir, "rootfs")
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	changes := []struct {
		summary string
		change  func() error
	}{
		{"other content with the old time", func() error {
			return errors.Join(os.WriteFile(file, []byte("ROOTFS"), 0o644), os.Chtimes(file, before.ModTime(), before.ModTime()))
		}},
		{"another file in its place", func() error {
			return errors.Join(os.WriteFile(file+".other", []byte("ROOTFS"), 0o644), os.Rename(file+".other", file))
		}},
	}
	for _, test := range changes {
		// The clock of file systems ticks every few milliseconds.
		for seen := image[1].Seen.Changed; ; {
			if err := test.change(); err != nil {
				t.Fatal(err)
			}
			st, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			if st.Sys().(*syscall.Stat_t).Ctim.Nano() > seen {
				break
			}
		}
		publish(image)
		if got := there(t, dir); got != "meta=meta rootfs=rootfs" {
			t.Errorf("%s: %s", test.summary, got)
		}
	}
}
