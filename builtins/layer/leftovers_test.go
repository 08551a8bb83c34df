package layer_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"imagebuilder/builtins/layer"
)

// What runs leave beside entries goes like entries, the least recently used first, but only
// when nobody else is at work.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, layer.Options{})
	hour := func(n int) time.Time { return time.Now().Add(time.Duration(n-10) * time.Hour) }
	text := make([]byte, 4096)
	for i, name := range []string{"partial/old", "partial/old.json", "logs/run/001.log", "partial/new", "partial/lone.json"} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, hour(i), hour(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(dir+"/logs/run", hour(2), hour(2)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.Logs(), 0o700); err != nil { // of this run
		t.Fatal(err)
	}
	collect := func(max int64) []string {
		t.Helper()
		removed, err := s.Collect(max)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, m := range removed {
			names = append(names, m.Step+" "+m.Key)
		}
		slices.Sort(names)
		return names
	}
	if list, err := s.List(); err != nil || len(list) != 4 || list[3].Key != "old" {
		t.Errorf("listed: %v, %v", list, err)
	}
	other := open(t, dir, layer.Options{})
	if got := collect(0); got != nil {
		t.Errorf("removed beside another run: %q", got)
	}
	other.Close()
	if got := collect(3 * 4096); !slices.Equal(got, []string{"log run", "partial download old"}) {
		t.Errorf("removed down to a size: %q", got)
	}
	if got := collect(0); !slices.Equal(got, []string{"partial download lone.json", "partial download new"}) {
		t.Errorf("removed in the end: %q", got)
	}
	if left, _ := filepath.Glob(dir + "/partial/*"); left != nil {
		t.Errorf("left: %v", left)
	}
	if _, err := os.Stat(s.Logs()); err != nil {
		t.Error(err)
	}
}
