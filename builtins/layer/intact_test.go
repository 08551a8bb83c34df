package layer_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/layer"
)

// What the store finds damaged is a miss: it is built anew, and every run after finds that.
func TestADamagedEntryIsBuiltAnew(t *testing.T) {
	tests := []struct {
		summary string
		damage  func(place string) error
		why     string
	}{
		{"no data", func(place string) error { return os.RemoveAll(place + "/data") }, "it is damaged: "},
		{"data is a file", func(place string) error {
			os.RemoveAll(place + "/data")
			return os.WriteFile(place+"/data", nil, 0o600)
		}, "it is damaged: "},
		{"no file", func(place string) error { return os.Remove(place + "/data/file") }, "it is damaged: "},
		{"an empty description", func(place string) error { return os.Truncate(place+"/meta.json", 0) }, "its description cannot be read"},
		{"a description of nothing", func(place string) error { return os.WriteFile(place+"/meta.json", []byte("{}"), 0o600) }, "its description cannot be read"},
		{"a description that waits for its other end", func(place string) error {
			os.Remove(place + "/meta.json")
			return unix.Mkfifo(place+"/meta.json", 0o600)
		}, "its description cannot be read"},
		{"nothing", func(place string) error { os.RemoveAll(place); return os.Mkdir(place, 0o700) }, "its description cannot be read"},
		{"not there", func(place string) error { return os.RemoveAll(place) }, "it is not in its place"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			dir := t.TempDir()
			var calls atomic.Int32
			st := step("a")
			st.Intact = func(data string) error { _, err := os.Stat(data + "/file"); return err }
			get := func() layer.Outcome {
				s := open(t, dir, layer.Options{})
				defer s.Close()
				e, out, err := s.Get(ctx, layer.Base{}, st, write(&calls, "text"))
				if err != nil {
					t.Fatal(err)
				}
				if text, err := os.ReadFile(e.Data() + "/file"); string(text) != "text" {
					t.Errorf("read %q: %v", text, err)
				}
				return out
			}
			key := get().Key
			place, err := filepath.EvalSymlinks(filepath.Join(dir, "entries", key))
			if err != nil {
				t.Fatal(err)
			}
			if err := test.damage(place); err != nil {
				t.Fatal(err)
			}
			if out := get(); out.Hit || !strings.HasPrefix(out.Why, test.why) {
				t.Errorf("hit %v, why %q, want %q", out.Hit, out.Why, test.why)
			}
			if out := get(); !out.Hit {
				t.Errorf("still not found: %s", out.Why)
			}
		})
	}
}

func TestCollectRemovesWhatHasNoDescription(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, layer.Options{})
	var calls atomic.Int32
	if _, _, err := s.Get(ctx, layer.Base{}, step("good"), write(&calls, "text")); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir, layer.Options{})
	for name, text := range map[string]string{"empty": "", "braces": "{}"} {
		place := filepath.Join(dir, "entries", name)
		if err := os.Mkdir(place, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(place+"/meta.json", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if removed, err := s.Collect(1 << 30); err != nil || len(removed) != 2 {
		t.Errorf("removed %v: %v", removed, err)
	}
	if names, _ := os.ReadDir(dir + "/entries"); len(names) != 1 {
		t.Errorf("left: %v", names)
	}
}

func TestIntact(t *testing.T) {
	file, description := t.TempDir()+"/file", t.TempDir()+"/description"
	sum := sha256.Sum256([]byte("text"))
	hour := time.Now().Add(time.Hour)
	ago := time.Now().Add(-time.Hour)
	tests := []struct {
		summary string
		change  func() error
		err     bool
	}{
		{"as it was", func() error { return nil }, false},
		{"another size", func() error { return os.WriteFile(file, []byte("longer"), 0o600) }, true},
		{"touched", func() error { return os.Chtimes(file, hour, hour) }, false},
		{"overwritten", func() error { return os.WriteFile(file, []byte("TEXT"), 0o600) }, true},
		{"overwritten with its time kept", func() error {
			return errors.Join(os.WriteFile(file, []byte("TEXT"), 0o600), os.Chtimes(file, ago, ago))
		}, true},
		{"no file", func() error { return os.Remove(file) }, true},
		{"no description", func() error { return os.Remove(description) }, true},
	}
	for _, test := range tests {
		for _, name := range []string{file, description} {
			if err := os.WriteFile(name, []byte("text"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(file, ago, ago); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(description, ago, ago); err != nil {
			t.Fatal(err)
		}
		passClock(t, description)
		if err := test.change(); err != nil {
			t.Fatal(err)
		}
		if err := layer.Intact(file, description, 4, hex.EncodeToString(sum[:])); (err != nil) != test.err {
			t.Errorf("%s: %v", test.summary, err)
		}
	}
}

// passClock waits until the clock of files, which is coarse, has moved on from a file.
func passClock(t *testing.T, name string) {
	t.Helper()
	ctime := func(name string) int64 {
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			t.Fatal(err)
		}
		return st.Ctim.Nano()
	}
	for probe := t.TempDir() + "/probe"; ; os.Remove(probe) {
		if err := os.WriteFile(probe, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if ctime(probe) > ctime(name) {
			return
		}
	}
}
