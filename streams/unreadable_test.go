package streams_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"imagebuilder/streams/imagetree"
)

// TestUnreadable holds that what cannot be read just now stays as it was, that the
// rest goes on, and that nothing of it is taken for vanished. It runs the tool as a
// user whom modes concern.
func TestUnreadable(t *testing.T) {
	tests := []struct {
		summary string
		name    string // is made unreadable
		listed  []string
	}{
		{"a version", dir(v2), []string{v1, v2, v4}},
		{"a file of a version", dir(v2) + "disk.qcow2", []string{v1, v2, v4}},
		{"a new version", dir(v4), []string{v1, v2}},
		{"a file of a new version", dir(v4) + "disk.qcow2", []string{v1, v2}},
		{"a product", "images/" + ubuntu, []string{v1, v2}},
		{"a release", "images/ubuntu/noble", []string{v1, v2}},
		{"a distribution", "images/ubuntu", []string{v1, v2}},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			f := newFixture(t, versions(ubuntu, v1, v2)...)
			f.build()
			f.make(versions(ubuntu, v4)...)
			f.make(imagetree.Sample{Product: "other/x/amd64/y", Version: v1})
			if err := os.Chtimes(f.path(dir(v2)+"disk.qcow2"), f.now, f.now); err != nil { // it has to be read again
				t.Fatal(err)
			}
			f.asNobody("build", test.name)
			if got := f.listed(); !slices.Equal(got, test.listed) {
				t.Errorf("listed: %v", got)
			}
			if f.products("images")["other:x:amd64:y"] == nil {
				t.Error("the rest did not go on")
			}
			f.asNobody("prune", test.name)
			for _, version := range test.listed[len(test.listed)-2:] {
				if !f.exists(dir(version)) {
					t.Errorf("%s is gone", version)
				}
			}
		})
	}
}

// asNobody runs a verb as a user without privileges, to whom the tree belongs but for
// one name.
func (f *fixture) asNobody(verb, unreadable string) {
	f.Helper()
	if err := os.Chmod(f.path(unreadable), 0); err != nil {
		f.Fatal(err)
	}
	defer os.Chmod(f.path(unreadable), 0o755)
	program := os.Args[0]
	attr := new(syscall.SysProcAttr)
	if os.Geteuid() == 0 {
		const nobody = 65534
		program = f.copyProgram()
		if err := os.Chmod(filepath.Dir(filepath.Dir(f.root)), 0o755); err != nil { // only ours so far
			f.Fatal(err)
		}
		attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		err := walk(filepath.Dir(f.root), func(name string) { os.Lchown(name, nobody, nobody) })
		if err != nil {
			f.Fatal(err)
		}
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "STREAMS_CRASH_ROOT="+f.root, "STREAMS_CRASH_VERB="+verb)
	cmd.SysProcAttr = attr
	if out, err := cmd.CombinedOutput(); err != nil {
		f.Fatalf("%v: %s", err, out)
	}
}

// copyProgram returns a copy of this program that everybody may run.
func (f *fixture) copyProgram() string {
	f.Helper()
	name := filepath.Join(f.TempDir(), "streams.test")
	in, err := os.Open(os.Args[0])
	if err != nil {
		f.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		f.Fatal(err)
	}
	if err := out.Close(); err != nil {
		f.Fatal(err)
	}
	return name
}
