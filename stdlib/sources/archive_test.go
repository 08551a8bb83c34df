package sources_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Small root file systems in archives.

// An archive is a root file system with a bit of everything that unpacking can lose.
type archive struct {
	id     string            // what etc/os-release says it is
	prefix string            // of all names, such as "root.x86_64/"
	top    int64             // mode of the root directory; 0: 0755
	shell  bool              // bin/sh is a program that runs: for what changes its root to it
	files  map[string]string // further ones; with mode 0755 where they begin with "#!", links where with "-> "
}

// tar returns it not compressed.
func (a archive) tar(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, content string) {
		h.Name, h.Size, h.Format = a.prefix+h.Name, int64(len(content)), tar.FormatPAX
		if h.Typeflag == tar.TypeLink {
			h.Linkname = a.prefix + h.Linkname
		}
		must(w.WriteHeader(&h))
		_, err := w.Write([]byte(content))
		must(err)
	}
	add(tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: cmp.Or(a.top, 0o755)}, "")
	for _, dir := range []string{"bin", "dev", "etc", "home", "usr", "usr/bin"} {
		add(tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, "")
	}
	shell := "#!/none\n"
	if a.shell {
		data, err := os.ReadFile("/bin/busybox")
		if err != nil {
			t.Skipf("needs the Debian package busybox-static: %v", err)
		}
		shell = string(data)
	}
	add(tar.Header{Name: "bin/sh", Mode: 0o755}, shell)
	add(tar.Header{Name: "etc/os-release", Mode: 0o644}, "ID="+a.id+"\n")
	add(tar.Header{Typeflag: tar.TypeSymlink, Name: "etc/link", Linkname: "os-release", Mode: 0o777}, "")
	add(tar.Header{Typeflag: tar.TypeLink, Name: "etc/hard", Linkname: "etc/os-release", Mode: 0o644}, "")
	add(tar.Header{Name: "home/file", Mode: 0o640, Uid: 1000, Gid: 1000}, "home")
	add(tar.Header{Name: "usr/bin/su", Mode: 0o4755}, "su")
	for _, name := range slices.Sorted(maps.Keys(a.files)) {
		if target, ok := strings.CutPrefix(a.files[name], "-> "); ok {
			add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, "")
			continue
		}
		mode := int64(0o644)
		if strings.HasPrefix(a.files[name], "#!") {
			mode = 0o755
		}
		add(tar.Header{Name: name, Mode: mode}, a.files[name])
	}
	must(w.Close())
	return b.Bytes()
}

// packed returns it compressed: "gz", "bz2", "xz" or "zst".
func (a archive) packed(t *testing.T, extension string) []byte {
	t.Helper()
	return compress(t, a.tar(t), extension)
}

func compress(t *testing.T, data []byte, extension string) []byte {
	t.Helper()
	if extension == "gz" {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, err := w.Write(data)
		must(err)
		must(w.Close())
		return b.Bytes()
	}
	program := map[string]string{"bz2": "bzip2", "xz": "xz", "zst": "zstd"}[extension]
	cmd := exec.Command(program, "-c")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("cannot compress by %s: %v", program, err)
	}
	return out
}

// check finds what of the archive is not in a directory.
func (a archive) check(t *testing.T, dir string) {
	t.Helper()
	for name, want := range a.files {
		if got := read(t, dir, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got, want := read(t, dir, "etc/os-release"), "ID="+a.id+"\n"; got != want {
		t.Errorf("etc/os-release is %q, want %q", got, want)
	}
	if target, err := os.Readlink(dir + "/etc/link"); target != "os-release" {
		t.Errorf("etc/link leads to %q: %v", target, err)
	}
	if a, b := stat(t, dir, "etc/hard"), stat(t, dir, "etc/os-release"); a.Ino != b.Ino {
		t.Error("etc/hard is not etc/os-release")
	}
	if st := stat(t, dir, "home/file"); st.Uid != 1000 || st.Gid != 1000 || st.Mode&0o7777 != 0o640 {
		t.Errorf("home/file is %d:%d %#o", st.Uid, st.Gid, st.Mode)
	}
	if st := stat(t, dir, "usr/bin/su"); st.Uid != 0 || st.Mode&0o7777 != 0o4755 {
		t.Errorf("usr/bin/su is %d:%d %#o", st.Uid, st.Gid, st.Mode)
	}
	if st := stat(t, dir, "."); st.Mode&0o7777 != 0o755 {
		t.Errorf("the root directory is %#o", st.Mode&0o7777)
	}
}

// read returns the content of a file in a tree.
func read(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(dir + "/" + name)
	if err != nil {
		t.Error(err)
	}
	return string(data)
}

func stat(t *testing.T, dir, name string) (st syscall.Stat_t) {
	t.Helper()
	if err := syscall.Lstat(dir+"/"+name, &st); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return st
}
