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

	"imagebuilder/builtins/digest"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/pack"
)

// What runs put into one directory at once is of one of them, with its digests.
func TestPublishAtOnce(t *testing.T) {
	target, kept, cache := t.TempDir(), t.TempDir(), t.TempDir()
	names := []string{"lxd.tar.xz", "rootfs.squashfs", "rootfs.squashfs.manifest"}
	var wait sync.WaitGroup
	for run := range 8 {
		content := strings.Repeat(string(rune('a'+run)), 1<<16)
		file := filepath.Join(kept, content[:1])
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		store := openStore(t, cache, nil)
		wait.Go(func() {
			k := packer{Builder: &Builder{Store: store, Target: target, Documents: true, Log: slog.New(slog.DiscardHandler)}, step: &Step{}}
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
	target, cache := t.TempDir(), t.TempDir()
	other := &Builder{Store: openStore(t, cache, nil)}
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(context.Background())
	log := slog.New(slog.NewTextHandler(said(func(line string) {
		if strings.Contains(line, "waiting for another run that has results for "+target) {
			cancel(stopped)
		}
	}), nil))
	err := other.alone(context.Background(), target, func() error {
		k := packer{Builder: &Builder{Store: openStore(t, cache, log), Target: target}, step: &Step{}}
		return k.publish(ctx, []pack.Result{{Path: os.Args[0], Name: "file"}})
	})
	if err != stopped {
		t.Errorf("got %v", err)
	}
	if there, _ := os.ReadDir(target); len(there) != 0 {
		t.Errorf("there are %v", there)
	}
}

func openStore(t *testing.T, dir string, log *slog.Logger) *layer.Store {
	t.Helper()
	store, err := layer.Open(dir, layer.Options{Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// said is called with each line of a log.
type said func(line string)

func (s said) Write(line []byte) (int, error) {
	s(string(line))
	return len(line), nil
}
