package build

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/pack"
)

// What runs put into one directory at once is of one of them, with its digests.
func TestPublishAtOnce(t *testing.T) {
	target, kept := t.TempDir(), t.TempDir()
	names := []string{"lxd.tar.xz", "rootfs.squashfs", "rootfs.squashfs.manifest"}
	var wait sync.WaitGroup
	for run := range 8 {
		content := strings.Repeat(string(rune('a'+run)), 1<<16)
		file := filepath.Join(kept, content[:1])
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		wait.Go(func() {
			k := packer{Builder: &Builder{Target: target, Documents: true, Log: slog.New(slog.DiscardHandler)}, step: &Step{}}
			for range 5 {
				var set []pack.Result
				for _, name := range names {
					set = append(set, pack.Result{Path: file, Name: name, Size: int64(len(content)), SHA256: digest.Sum([]byte(content)).String()})
				}
				if err := k.publish(context.Background(), set); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	first, err := os.ReadFile(filepath.Join(target, names[0]))
	if err != nil || len(first) != 1<<16 {
		t.Fatalf("%s: %d bytes, %v", names[0], len(first), err)
	}
	sums, _ := os.ReadFile(filepath.Join(target, SumsName))
	listed := digest.ParseSums(sums)
	for _, name := range names {
		if is, err := os.ReadFile(filepath.Join(target, name)); err != nil || string(is) != string(first) || listed[name] != digest.Sum(first) {
			t.Errorf("%s is of the run %.1s, %s of the run %.1s; listed are %s", name, is, names[0], first, sums)
		}
	}
	if there, _ := os.ReadDir(target); len(there) != len(names)+1 {
		t.Errorf("there are %v", there)
	}
}

// Who waits for another run can be stopped, and has changed nothing.
func TestPublishStopped(t *testing.T) {
	target := t.TempDir()
	other, err := os.Open(target)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := dirfd.Flock(other, unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(context.Background())
	log := slog.New(slog.NewTextHandler(said(func(line string) {
		if strings.Contains(line, "waiting for another run") {
			cancel(stopped)
		}
	}), nil))
	k := packer{Builder: &Builder{Target: target, Log: log}, step: &Step{}}
	if err := k.publish(ctx, []pack.Result{{Path: os.Args[0], Name: "file"}}); err != stopped {
		t.Errorf("got %v", err)
	}
	if there, _ := os.ReadDir(target); len(there) != 0 {
		t.Errorf("there are %v", there)
	}
}

// said is called with each line of a log.
type said func(line string)

func (s said) Write(line []byte) (int, error) {
	s(string(line))
	return len(line), nil
}
