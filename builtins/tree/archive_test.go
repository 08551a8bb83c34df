package tree_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/tree"
)

// archive returns the members of an archive of a directory, one a line, and its bytes.
func archive(t *testing.T, dir string) (string, []byte) {
	t.Helper()
	d, err := dirfd.Open(dir, dirfd.InRoot)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var data bytes.Buffer
	if err := tree.WriteArchive(&data, d); err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for r := tar.NewReader(bytes.NewReader(data.Bytes())); ; {
		h, err := r.Next()
		if err == io.EOF {
			return lines.String(), data.Bytes()
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&lines, "%q %c %04o %d %q %v\n", h.Name, h.Typeflag, h.Mode, h.Size, h.Linkname, recordsOf(h))
	}
}

// recordsOf returns the records that are not about name and times.
func recordsOf(h *tar.Header) map[string]string {
	own := make(map[string]string)
	for key, value := range h.PAXRecords {
		if strings.Contains(key, ".") {
			own[key] = value
		}
	}
	return own
}

// upper makes a directory as overlayfs leaves one. As root it has whiteouts, too.
func upper(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	long := strings.Repeat("n", 255)
	err := errors.Join(
		os.Chmod(dir, 0o755), os.Mkdir(in("etc"), 0o755), os.WriteFile(in("etc/a"), []byte("text"), 0o640),
		os.Chmod(in("etc/a"), 0o640), os.Chmod(in("etc"), 0o755),
		os.Link(in("etc/a"), in("z")), os.Symlink("/caf\xe9", in("caf\xe9")), unix.Mkfifo(in("pipe"), 0o600),
		os.WriteFile(in(long), nil, 0o600), unix.Mknod(in("sock"), unix.S_IFSOCK|0o600, 0),
	)
	if os.Geteuid() == 0 {
		err = errors.Join(err, unix.Mknod(in("etc/gone"), unix.S_IFCHR, 0), os.Mkdir(in("var"), 0o755),
			unix.Lsetxattr(in("var"), "trusted.overlay.opaque", []byte("y"), 0),
			unix.Lsetxattr(in("var"), "trusted.overlay.origin", []byte("of this machine"), 0),
			unix.Lsetxattr(in("z"), "security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
	}
	old := time.Date(1960, 1, 2, 3, 4, 5, 678, time.UTC)
	for _, name := range []string{"etc/a", "etc", "pipe", long, "sock", "var", ""} {
		if _, serr := os.Lstat(in(name)); serr == nil {
			err = errors.Join(err, os.Chtimes(in(name), old, old))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestArchive(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: whiteouts and attributes of overlayfs")
	}
	got, _ := archive(t, upper(t))
	want := `"./" 5 0755 0 "" map[]
"./caf\xe9" 2 0777 0 "/caf\xe9" map[]
"./etc/" 5 0755 0 "" map[]
"./etc/a" 0 0640 4 "" map[SCHILY.xattr.security.capability:` + "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" + `]
"./etc/.wh.gone" 0 0000 0 "" map[]
"./` + strings.Repeat("n", 255) + `" 0 0600 0 "" map[]
"./pipe" 6 0600 0 "" map[]
"./sock" 6 0600 0 "" map[IMAGEBUILDER.socket:1]
"./var/" 5 0755 0 "" map[]
"./var/.wh..wh..opq" 0 0000 0 "" map[]
"./z" 1 0640 0 "./etc/a" map[]
`
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// The identity of a layer must not change with the place it lies at, nor stay when
// anything in it does.
func TestArchiveIsOfTheContent(t *testing.T) {
	first, second := upper(t), upper(t)
	for _, dir := range []string{first, second} { // a link's own time
		for _, name := range []string{"caf\xe9", "etc/gone"} {
			times := []unix.Timespec{{Sec: 5}, {Sec: 5}}
			unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(dir, name), times, unix.AT_SYMLINK_NOFOLLOW)
		}
	}
	_, a := archive(t, first)
	if _, b := archive(t, second); !bytes.Equal(a, b) {
		t.Error("the same content gives other bytes elsewhere")
	}
	st, err := os.Stat(filepath.Join(second, "etc/a"))
	if err != nil {
		t.Fatal(err)
	}
	for summary, change := range map[string]func() error{
		"a nanosecond": func() error {
			return os.Chtimes(filepath.Join(second, "etc/a"), time.Time{}, st.ModTime().Add(1))
		},
		"a mode": func() error { return os.Chmod(filepath.Join(second, "pipe"), 0o666) },
		"a byte": func() error { return os.WriteFile(filepath.Join(second, "etc/a"), []byte("tex2"), 0) },
	} {
		_, before := archive(t, second)
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if _, after := archive(t, second); bytes.Equal(before, after) {
			t.Errorf("%s is not seen", summary)
		}
	}
}
