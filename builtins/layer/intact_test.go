package layer_test

import (
	"crypto/sha256"
	"encoding/hex"
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
	dir := t.TempDir()
	file, description := dir+"/file", dir+"/description"
	sum := sha256.Sum256([]byte("text"))
	tests := []struct {
		summary string
		text    string
		later   time.Duration // how long after its description the file was written
		err     bool
	}{
		{"as it was", "text", 0, false},
		{"another size", "longer", 0, true},
		{"touched", "text", time.Hour, false},
		{"overwritten", "TEXT", time.Hour, true},
	}
	for _, test := range tests {
		for _, name := range []string{file, description} {
			if err := os.WriteFile(name, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		then := time.Now().Add(test.later)
		if err := os.Chtimes(file, then, then); err != nil {
			t.Fatal(err)
		}
		if err := layer.Intact(file, description, 4, hex.EncodeToString(sum[:])); (err != nil) != test.err {
			t.Errorf("%s: %v", test.summary, err)
		}
	}
}
