package squashfs_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/squashfs"
	"imagebuilder/builtins/tree"
)

// The cases of what is packed and read back: with what, and in blocks of which size.
var ways = []struct {
	method string
	level  int
	block  int
}{
	{"xz", -1, 1 << 20}, {"xz", 1, 128 << 10}, {"zstd", -1, 128 << 10}, {"zstd", 19, 1 << 20},
	{"lz4", -1, 1 << 20}, {"none", -1, 1 << 20}, {"gzip", 1, 4 << 10},
}

func TestImageIsItsTree(t *testing.T) {
	dir := everyKind(t)
	want := dump(t, dir)
	for _, w := range ways {
		t.Run(fmt.Sprintf("%s %d %d", w.method, w.level, w.block), func(t *testing.T) {
			c, err := squashfs.NewCompressor(w.method, w.level, host.Program{})
			if err != nil {
				t.Fatal(err)
			}
			image, _ := write(t, dir, squashfs.Options{Compressor: c, BlockSize: w.block, Export: w.level < 0})
			same(t, "our own reader", want, readDump(t, image))
			same(t, "unsquashfs", want, dump(t, unsquash(t, image)))
			if mounted := mount(t, image); mounted != "" {
				same(t, "kernel", want, dump(t, mounted))
				for i := range 3000 { // which takes the index
					if _, err := os.Lstat(filepath.Join(mounted, "many", many(i))); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

func many(i int) string { return fmt.Sprintf("a file of many, the one with number %d", i) }

// everyKind makes a tree with a file of every kind.
func everyKind(t *testing.T) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("devices and owners are root's to make")
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) []byte {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		return data
	}
	text := func(n int) []byte { return bytes.Repeat([]byte("all work and no play\n"), n/21+1)[:n] }
	must := func(errs ...error) {
		t.Helper()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	file := func(name string, data []byte) {
		t.Helper()
		must(os.MkdirAll(filepath.Dir(at(name)), 0o755), os.WriteFile(at(name), data, 0o644))
	}
	file("empty", nil)
	file("small", []byte("small\n"))
	file("also small", []byte("small\n"))
	file("block", noise(1<<20))
	file("blocks", append(text(1<<20), noise(12345)...))
	file("again/blocks", append(text(1<<20), noise(0)...))
	file("copy of blocks", must2(os.ReadFile(at("blocks"))))
	file("text", text(3<<20+1))
	file("almost a block", text(1<<20-1))
	file("zeros", make([]byte, 2<<20))
	file("few zeros", make([]byte, 100))
	file("d/e/e/p/x", noise(5000))
	file("x\nnew\xff line", []byte("a name is bytes"))
	file(strings.Repeat("n", 255), []byte("long"))
	must(os.MkdirAll(at("none"), 0o700), os.MkdirAll(at("deep/"+strings.Repeat("d/", 300)), 0o755))
	hole, err := os.Create(at("hole"))
	must(err, hole.Truncate(100<<20))
	_, err = hole.WriteAt([]byte("in the middle"), 60<<20)
	must(err, hole.Close())
	must(os.Symlink("small", at("link")), os.Symlink("/nowhere/"+strings.Repeat("t", 3000), at("dangling")),
		os.Link(at("small"), at("d/hard")), os.Link(at("blocks"), at("d/hard blocks")), os.Link(at("link"), at("d/hard link")),
		unix.Mknod(at("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		unix.Mknod(at("disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 70000))),
		unix.Mkfifo(at("fifo"), 0o600), unix.Mknod(at("socket"), unix.S_IFSOCK|0o777, 0),
		os.Link(at("null"), at("d/hard null")),
		os.Chown(at("d"), 65534, 4000000000), os.Chmod(at("d/e"), 0o7755|os.ModeSetuid|os.ModeSetgid|os.ModeSticky),
		os.Lchown(at("link"), 1000, 1001),
		unix.Lsetxattr(at("small"), "security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0),
		unix.Lsetxattr(at("block"), "user.one", []byte("1"), 0), unix.Lsetxattr(at("text"), "user.one", []byte("1"), 0),
		unix.Lsetxattr(at("blocks"), "user.large", noise(3000), 0), unix.Lsetxattr(at("blocks"), "user.empty", nil, 0),
		unix.Lsetxattr(at("d"), "trusted.dir", []byte("d"), 0), unix.Lsetxattr(at("link"), "trusted.link", []byte("l"), 0),
		unix.Lsetxattr(at("fifo"), "trusted.fifo", []byte("f"), 0), unix.Lsetxattr(at("null"), "trusted.null", []byte("n"), 0))
	for i := range 3000 {
		file("many/"+many(i), fmt.Appendf(nil, "%d", i%100))
	}
	for i := range 300 {
		must(os.Lchown(at("many/"+many(i)), i, 100000+i))
	}
	names := map[string]time.Time{"small": time.Unix(1, 0), "text": time.Unix(4294967295, 0), "zeros": time.Unix(0, 0)}
	for i := range 1000 {
		names["many/"+many(i)] = time.Unix(int64(i)*86400*3, 0)
	}
	for name, when := range names {
		must(os.Chtimes(at(name), when, when))
	}
	return dir
}

func must2[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// write writes an image of a directory.
func write(t testing.TB, dir string, o squashfs.Options) (string, *squashfs.Result) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "image")
	result, err := writeTo(t.Context(), out, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return out, result
}

// dump is all that an image keeps of a tree, as text, with the times that it can have.
func dump(t testing.TB, dir string) string {
	t.Helper()
	return dumpTimes(t, dir, func(seconds int64) int64 { return min(max(seconds, 0), math.MaxUint32) })
}

func dumpTimes(t testing.TB, dir string, time func(int64) int64) string {
	t.Helper()
	root, err := dirfd.Open(dir, dirfd.InRoot)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var out strings.Builder
	if err := tree.Dump(&out, root); err != nil {
		t.Fatal(err)
	}
	err = root.Walk(".", func(name string, st *unix.Stat_t) error {
		_, err := fmt.Fprintf(&out, "%s %d %d\n", name, time(st.Mtim.Sec), st.Nlink)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// readDump is dump for an image, all of which is checked.
func readDump(t testing.TB, image string) string {
	t.Helper()
	m, err := read(image)
	if err != nil {
		t.Fatalf("the image is not as the format has it: %v", err)
	}
	return m.dump()
}

// same compares trees.
func same(t testing.TB, by, want, got string) {
	t.Helper()
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(g)) {
		if w[i] != g[i] {
			t.Fatalf("read by %s:\n got %.300q\nwant %.300q", by, g[i], w[i])
		}
	}
	if len(w) != len(g) {
		t.Fatalf("read by %s: %d lines, not %d", by, len(g), len(w))
	}
}

// unsquash unpacks an image.
func unsquash(t testing.TB, image string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "unpacked")
	if out, err := exec.Command("unsquashfs", "-no-progress", "-dest", dir, image).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// mount mounts an image and returns where, "" where that cannot be done.
func mount(t testing.TB, image string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "squashfs", "-o", "loop,ro", image, dir).CombinedOutput(); err != nil {
		if strings.Contains(string(out), "failed to setup loop device") || strings.Contains(string(out), "unknown filesystem type") {
			t.Logf("not read by the kernel, which cannot mount here: %s", out)
			return ""
		}
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	return dir
}
