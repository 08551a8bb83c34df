package lock_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"imagebuilder/builtins/lock"
)

func TestSweep(t *testing.T) {
	b := lock.Bodies{Dir: t.TempDir()}
	old := time.Now().Add(-91 * 24 * time.Hour)
	write := func(text string, when time.Time) lock.Content {
		t.Helper()
		c, err := b.Write([]byte(text))
		if err == nil {
			err = os.Chtimes(b.Path(c), when, when)
		}
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	unused, used, recent, shared := write("unused", old), write("used", old), write("recent", time.Now()), write("shared", old)
	f, err := b.Open(used)
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(b.Dir, ".new-left by one that was killed")
	err = errors.Join(f.Close(), os.Link(b.Path(shared), filepath.Join(t.TempDir(), "of the store")), os.WriteFile(left, nil, 0o600), os.Chtimes(left, old, old))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Sweep(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		summary string
		c       lock.Content
		kept    bool
	}{
		{"what nobody has asked for", unused, false},
		{"what was asked for just now", used, true},
		{"what is new", recent, true},
		{"what is a file of the store, too", shared, true},
	} {
		if got := b.Has(test.c); got != test.kept {
			t.Errorf("%s: it is there: %v, want %v", test.summary, got, test.kept)
		}
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a killed process has left is there: %v", err)
	}
}
