package windows

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// hiveOf is a hive that hivexregedit has written, with keys beside Select.
func hiveOf(t testing.TB, values string, others int) []byte {
	t.Helper()
	if _, err := exec.LookPath("hivexregedit"); err != nil {
		t.Skip("needs hivexregedit: apt-get install libwin-hivex-perl")
	}
	var text strings.Builder
	text.WriteString("Windows Registry Editor Version 5.00\n\n")
	for i := range others {
		fmt.Fprintf(&text, "[\\ControlSet%03d]\n\n", i)
	}
	text.WriteString(values)
	name, reg := filepath.Join(t.TempDir(), "SYSTEM"), filepath.Join(t.TempDir(), "reg")
	empty, err := os.ReadFile("../../testdata/windows/empty.hive")
	if err = errors.Join(err, os.WriteFile(name, empty, 0o644), os.WriteFile(reg, []byte(text.String()), 0o644)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("hivexregedit", "--merge", name, reg).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestCurrentControlSet(t *testing.T) {
	const selected = "[\\Select]\n\"Default\"=dword:00000001\n\"Current\"=dword:00000003\n"
	whole := hiveOf(t, selected, 3)
	for _, test := range []struct {
		summary string
		data    []byte
		want    int
		err     string
	}{
		{"the usual", whole, 3, ""},
		{"more keys than one list holds", hiveOf(t, selected, 2000), 3, ""},
		{"no key", hiveOf(t, "", 1), 0, "its key Select does not say"},
		{"no value", hiveOf(t, "[\\Select]\n\"Default\"=dword:00000001\n", 0), 0, "its key Select does not say"},
		{"a text", hiveOf(t, "[\\Select]\n\"Current\"=\"3\"\n", 0), 0, "its key Select does not say"},
		{"a number that is none of a control set", hiveOf(t, "[\\Select]\n\"Current\"=dword:00001000\n", 0), 0, "its key Select does not say"},
		{"something else", []byte("broken\n"), 0, "it is damaged"},
		{"cut", whole[:4100], 0, "it is damaged"},
	} {
		got, err := currentControlSet(bytes.NewReader(test.data))
		if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %d, %v", test.summary, got, err)
		}
	}
}

// Whatever is in a hive, reading it ends, with a number or an error.
func FuzzHive(f *testing.F) {
	f.Add(hiveOf(f, "[\\Select]\n\"Current\"=dword:00000001\n", 2))
	f.Add(hiveOf(f, "", 40))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, err := currentControlSet(bytes.NewReader(data)); (err == nil) != (n > 0 && n < 1000) {
			t.Errorf("%d, %v", n, err)
		}
	})
}
