package layer_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/layer"
)

// What meets a full disk and at once makes room again may have ignored that: what comes of it is
// not kept.
func TestADiskThatWasFullForAMoment(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small file system")
	}
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=32m,mode=700"); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	s, err := layer.Open(dir+"/cache", layer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, _, err = s.Get(context.Background(), layer.Base{}, layer.Origin{Name: "fill"}, func(data string) error {
		big, block := filepath.Join(data, "big"), make([]byte, 1<<20)
		f, err := os.Create(big)
		for err == nil {
			_, err = f.Write(block)
		}
		time.Sleep(30 * time.Millisecond) // as long as it takes to start a program that removes it
		f.Close()
		return os.Remove(big)
	})
	if err == nil || !strings.Contains(err.Error(), "is full") {
		t.Errorf("got %v", err)
	}
}
