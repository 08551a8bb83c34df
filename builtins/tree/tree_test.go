package tree_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/tree"
)

// newRoot makes a root next to a file "outside", which nothing must ever change, and
// fills it from lines like "etc/x=text", "etc/link->target" and "dir/".
func newRoot(t testing.TB, lines ...string) (*dirfd.Dir, string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/outside", []byte("safe"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if text, _ := os.ReadFile(dir + "/outside"); string(text) != "safe" {
			t.Errorf("the host was changed: %q", text)
		}
	})
	base := filepath.Join(dir, "root")
	for _, line := range append([]string{"/"}, lines...) {
		var err error
		if name, text, ok := strings.Cut(line, "->"); ok {
			os.MkdirAll(filepath.Join(base, filepath.Dir(name)), 0o755)
			err = os.Symlink(strings.ReplaceAll(text, "$HOST", dir), filepath.Join(base, name))
		} else if name, text, ok := strings.Cut(line, "="); ok {
			os.MkdirAll(filepath.Join(base, filepath.Dir(name)), 0o755)
			err = os.WriteFile(filepath.Join(base, name), []byte(text), 0o644)
		} else {
			err = os.MkdirAll(filepath.Join(base, line), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := dirfd.Open(base, dirfd.InRoot)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root, base
}

func dump(t *testing.T, root *dirfd.Dir) string {
	t.Helper()
	var b bytes.Buffer
	if err := tree.Dump(&b, root); err != nil {
		t.Fatal(err)
	}
	me := fmt.Sprintf(" %d:%d", os.Getuid(), os.Getgid())
	return strings.ReplaceAll(b.String(), me, "")
}

func TestApply(t *testing.T) {
	tests := []struct {
		summary string
		before  []string
		edit    tree.Edit
		after   string // dump without the root's line
		err     string
	}{{
		summary: "write makes missing directories 0755 and the file 0644",
		edit:    tree.Edit{Op: "write", Path: "/a/b/c", Content: []byte("text\n")},
		after:   "/a dir 0755\n/a/b dir 0755\n/a/b/c file 0644 5 b9e68e1bea3e\n",
	}, {
		summary: "write keeps the mode of a file that is there",
		before:  []string{"f=old and long"},
		edit:    tree.Edit{Op: "write", Path: "f", Content: []byte("new")},
		after:   "/f file 0644 3 11507a0e2f5e\n",
	}, {
		summary: "nothing where another path is there",
		before:  []string{"f=old"},
		edit:    tree.Edit{Op: "mkdir", Path: "/d", Unless: "/f"},
		after:   "/f file 0644 3 cba06b5736fa\n",
	}, {
		summary: "set-id bits survive",
		edit:    tree.Edit{Op: "write", Path: "/f", SetMode: true, Mode: 0o4755},
		after:   "/f file 4755 0 e3b0c44298fc\n",
	}, {
		summary: "an absolute link means the image's own file",
		before:  []string{"etc/x->/target"},
		edit:    tree.Edit{Op: "write", Path: "/etc/x", Content: []byte("new")},
		after:   "/etc dir 0755\n/etc/x link 0777 /target\n/target file 0644 3 11507a0e2f5e\n",
	}, {
		summary: "a link to the host stays inside",
		before:  []string{"x->$HOST/outside"},
		edit:    tree.Edit{Op: "write", Path: "/x", Content: []byte("new")},
		err:     "open /x: no such file or directory",
	}, {
		summary: "dots cannot leave the root",
		edit:    tree.Edit{Op: "write", Path: "../../outside", Content: []byte("new")},
		after:   "/outside file 0644 3 11507a0e2f5e\n",
	}, {
		summary: "a link of dots cannot leave the root",
		before:  []string{"x->../../../outside"},
		edit:    tree.Edit{Op: "write", Path: "/x", Content: []byte("new")},
		after:   "/outside file 0644 3 11507a0e2f5e\n/x link 0777 ../../../outside\n",
	}, {
		summary: "append",
		before:  []string{"f=a"},
		edit:    tree.Edit{Op: "append", Path: "f", Content: []byte("b")},
		after:   "/f file 0644 2 fb8e20fc2e4c\n",
	}, {
		summary: "replace works line by line and knows groups",
		before:  []string{"f=a 1\nb 2\n"},
		edit:    tree.Edit{Op: "replace", Path: "f", Pattern: `^([a-z]) `, Content: []byte("$1=")},
		after:   "/f file 0644 8 4a73850fde34\n",
	}, {
		summary: "remove takes a directory with all below, not what a link points to",
		before:  []string{"d/e/f=x", "d/l->/keep", "keep/g=y"},
		edit:    tree.Edit{Op: "remove", Path: "/d"},
		after:   "/keep dir 0755\n/keep/g file 0644 1 a1fce4363854\n",
	}, {
		summary: "remove takes a link, not what it points to",
		before:  []string{"l->keep", "keep=y"},
		edit:    tree.Edit{Op: "remove", Path: "/l"},
		after:   "/keep file 0644 1 a1fce4363854\n",
	}, {
		summary: "removing what is not there is no error",
		edit:    tree.Edit{Op: "remove", Path: "/a/b"},
	}, {
		summary: "the root cannot be removed",
		edit:    tree.Edit{Op: "remove", Path: "/x/.."},
		err:     "remove /: this is the directory itself",
	}, {
		summary: "clear keeps the directory",
		before:  []string{"d/a=x", "d/b/c=x"},
		edit:    tree.Edit{Op: "clear", Path: "/d"},
		after:   "/d dir 0755\n",
	}, {
		summary: "a link takes the place of a file",
		before:  []string{"f=x"},
		edit:    tree.Edit{Op: "symlink", Path: "/f", To: "../run/x"},
		after:   "/f link 0777 ../run/x\n",
	}, {
		summary: "link gives a second name",
		before:  []string{"f=x"},
		edit:    tree.Edit{Op: "link", Path: "/g", To: "/f"},
		after:   "/f file 0644 1 2d711642b726\n/g hard /f\n",
	}, {
		summary: "rename",
		before:  []string{"f=x", "d/"},
		edit:    tree.Edit{Op: "rename", Path: "/f", To: "/d/g"},
		after:   "/d dir 0755\n/d/g file 0644 1 2d711642b726\n",
	}, {
		summary: "mkdir with a mode",
		edit:    tree.Edit{Op: "mkdir", Path: "/a/b", SetMode: true, Mode: 0o1777},
		after:   "/a dir 0755\n/a/b dir 1777\n",
	}, {
		summary: "chmod through a link",
		before:  []string{"f=x", "l->/f"},
		edit:    tree.Edit{Op: "chmod", Path: "/l", SetMode: true, Mode: 0o600},
		after:   "/f file 0600 1 2d711642b726\n/l link 0777 /f\n",
	}, {
		summary: "an unknown owner",
		before:  []string{"etc/passwd=root:x:0:0::/:/bin/sh\n"},
		edit:    tree.Edit{Op: "write", Path: "/f", Owner: "alice"},
		err:     `chown /f: /etc/passwd: no entry "alice"`,
	}, {
		summary: "nothing happens where the file must be there and is not",
		edit:    tree.Edit{Op: "write", Path: "/f", If: "/f"},
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			root, _ := newRoot(t, test.before...)
			err := tree.Apply(root, test.edit)
			if test.err != "" {
				if err == nil || err.Error() != test.err {
					t.Fatalf("got error %v, want %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimPrefix(dump(t, root), "/ dir 0755\n"); got != test.after {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.after)
			}
		})
	}
}

func TestCopyIn(t *testing.T) {
	root, _ := newRoot(t, "etc/link->/nowhere")
	host := t.TempDir()
	os.WriteFile(host+"/f", []byte("x"), 0o700)
	os.Symlink("text", host+"/l")
	for _, test := range []struct{ source, path, err string }{
		{"f", "/a/f", ""},
		{"l", "/etc/link", ""},
		{".", "/d", "copy " + host + ": not a regular file or a symbolic link"},
	} {
		err := tree.Apply(root, tree.Edit{Op: "copy", Source: filepath.Join(host, test.source), Path: test.path})
		if fmt.Sprint(err) != test.err && (err != nil || test.err != "") {
			t.Errorf("%s: got %v", test.source, err)
		}
	}
	want := "/ dir 0755\n/a dir 0755\n/a/f file 0644 1 2d711642b726\n/etc dir 0755\n/etc/link link 0777 text\n"
	if got := dump(t, root); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestRead(t *testing.T) {
	root, base := newRoot(t, "etc/os-release->../usr/lib/os-release", "usr/lib/os-release=ID=x\n", "loop->loop", "evil->$HOST/outside", "etc/dir/")
	if err := unix.Mkfifo(base+"/fifo", 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, want, err string }{
		{"/etc/os-release", "ID=x\n", ""},
		{"/loop", "", "open /loop: too many levels of symbolic links"},
		{"/evil", "", "open /evil: no such file or directory"},
		{"/fifo", "", "read /fifo: not a regular file"},
		{"/etc/dir", "", "read /etc/dir: not a regular file"},
		{"/none", "", "open /none: no such file or directory"},
	}
	for _, test := range tests {
		data, err := root.ReadFile(test.name, 100)
		if string(data) != test.want || err == nil != (test.err == "") || err != nil && err.Error() != test.err {
			t.Errorf("%s: %q, %v", test.name, data, err)
		}
	}
}

func TestGlob(t *testing.T) {
	root, _ := newRoot(t, "etc/a.list=", "etc/b.list->/nowhere", "etc/c.conf=", "abs->/etc", "d/a.x=", "d/[a]*/b/a.x/", "d/l->/etc")
	for pattern, want := range map[string]string{
		"/etc/*.list": "[/etc/a.list /etc/b.list]",
		"etc/[bc].*":  "[/etc/b.list /etc/c.conf]",
		"/abs/*.conf": "[/abs/c.conf]",
		"/etc/b.list": "[/etc/b.list]",
		"/none/*":     "[]",
		"/d/**/a.x":   "[/d/[a]*/b/a.x /d/a.x]",
		"/d/**/a.*/":  "[/d/[a]*/b/a.x]",
		"/d/**/":      "[/d /d/[a]* /d/[a]*/b /d/[a]*/b/a.x]",
		"/**/c.conf":  "[/etc/c.conf]",
		"/*/":         "[/d /etc]",
		"/none/**/*":  "[]",
	} {
		if got, err := root.Glob(pattern); fmt.Sprint(got) != want || err != nil {
			t.Errorf("%s: %v, %v", pattern, got, err)
		}
	}
	if _, err := root.Glob("/[x"); err == nil {
		t.Error("a malformed pattern is no error")
	}
}

func TestOwnerNames(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: chown")
	}
	root, _ := newRoot(t, "etc/passwd=root:x:0:0::/:/bin/sh\n_apt:x:42:65534::/:/bin/false\n", "etc/group=adm:x:4:\n")
	if err := tree.Apply(root, tree.Edit{Op: "write", Path: "/f", Owner: "_apt", Group: "adm", SetMode: true, Mode: 0o2750}); err != nil {
		t.Fatal(err)
	}
	if got := dump(t, root); !strings.Contains(got, "/f file 2750 42:4 0 ") {
		t.Errorf("got:\n%s", got)
	}
}

func TestCopyKeepsEverything(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: devices and capabilities")
	}
	src, base := newRoot(t, "bin/ping=elf", "l->/a/b", "d/e/")
	sparse, _ := os.Create(base + "/sparse")
	sparse.WriteAt([]byte("end"), 1<<20)
	sparse.Truncate(2 << 20)
	sparse.Close()
	capability := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	for _, err := range []error{
		os.Link(base+"/bin/ping", base+"/hard"),
		os.Chown(base+"/bin/ping", 1000, 2000),
		os.Chmod(base+"/bin/ping", 0o755|os.ModeSetuid),
		unix.Setxattr(base+"/bin/ping", "security.capability", []byte(capability), 0),
		unix.Setxattr(base+"/d", "trusted.x", []byte("1"), 0),
		unix.Mknod(base+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		unix.Mkfifo(base+"/fifo", 0o600),
		os.Lchown(base+"/l", 7, 8),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	stamp := []unix.Timespec{{Sec: 1, Nsec: 2}, {Sec: 3, Nsec: 4}}
	unix.UtimesNanoAt(unix.AT_FDCWD, base+"/d", stamp, 0)
	dst, to := newRoot(t)
	var copier tree.Copier
	if err := copier.Copy(context.Background(), dst, src); err != nil {
		t.Fatal(err)
	}
	if got, want := dump(t, dst), dump(t, src); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	var st unix.Stat_t
	unix.Stat(to+"/d", &st)
	if st.Mtim != stamp[1] {
		t.Errorf("modification time %v", st.Mtim)
	}
	unix.Stat(to+"/sparse", &st)
	if st.Blocks*512 > 1<<17 {
		t.Errorf("the hole was filled: %d blocks", st.Blocks)
	}
	if err := copier.Copy(context.Background(), dst, src); err == nil {
		t.Error("copying over what is there is no error")
	}
	copier.Merge = true
	if err := copier.Copy(context.Background(), dst, src); err != nil {
		t.Errorf("merging: %v", err)
	}
}

// A copy with a digest is of the file that has it, whatever became of the file since.
func TestCopyWithDigest(t *testing.T) {
	host := t.TempDir()
	for name, text := range map[string]string{"file": "text", "changed": "TEXT"} {
		if err := os.WriteFile(filepath.Join(host, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("file", host+"/link"); err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte("text")))
	for source, want := range map[string]string{"file": "", "link": "", "changed": " has changed: it had the SHA-256 " + sum} {
		root, base := newRoot(t)
		err := tree.Apply(root, tree.Edit{Op: "copy", Source: filepath.Join(host, source), Path: "/x", SHA256: sum})
		if want != "" {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %s", source, err, want)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if st, err := os.Lstat(base + "/x"); err != nil || !st.Mode().IsRegular() {
			t.Errorf("%s: %v, %v", source, st, err)
		}
	}
}
