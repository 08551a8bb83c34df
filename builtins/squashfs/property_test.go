package squashfs_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/squashfs"
)

// A random tree, packed in a random way, is what our reader, unsquashfs and the kernel read,
// and what they read of the image that mksquashfs makes of it.
func TestRandomTrees(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("devices and owners are root's to make")
	}
	limit := 20 * time.Second
	if os.Getenv("IMAGEBUILDER_TEST_ALL") != "" {
		limit = 10 * time.Minute
	}
	start, n := time.Now(), 0
	defer func() { t.Logf("%d trees", n) }()
	rapid.Check(t, func(rt *rapid.T) {
		if time.Since(start) > limit {
			return
		}
		n++
		base, err := os.MkdirTemp(roomy(t), "")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(base)
		g := &grower{T: rt, dir: filepath.Join(base, "tree"), block: 4096 << rapid.IntRange(0, 8).Draw(rt, "block")}
		g.grow()
		method := rapid.SampledFrom([]string{"xz", "gzip", "zstd", "lz4", "none"}).Draw(rt, "method")
		c, err := squashfs.NewCompressor(method, -1, host.Program{})
		if err != nil {
			rt.Fatal(err)
		}
		image := filepath.Join(base, "image")
		_, err = writeTo(t.Context(), image, g.dir, squashfs.Options{Compressor: c, BlockSize: g.block, Export: rapid.Bool().Draw(rt, "export")})
		g.check(err)
		want := dump(t, g.dir)
		m, err := read(image)
		if err != nil {
			rt.Fatalf("%s %d: the image is not as the format has it: %v", method, g.block, err)
		}
		g.same("our own reader", want, m.dump())
		g.same("unsquashfs", want, dump(t, g.unsquash(image, base+"/ours")))
		theirs := base + "/theirs.image"
		if method != "none" && !g.linked { // it loses some links of what is no regular file
			out, err := exec.Command("mksquashfs", g.dir, theirs, "-no-progress", "-comp", method, "-b", fmt.Sprint(g.block), "-no-recovery").CombinedOutput()
			if err != nil {
				rt.Fatalf("%v\n%s", err, out)
			}
			want := dumpTimes(t, g.dir, func(seconds int64) int64 { return int64(uint32(seconds)) }) // it clamps none
			g.same("unsquashfs of mksquashfs", want, dump(t, g.unsquash(theirs, base+"/theirs")))
		}
		if n%8 == 1 { // of the next process as well
			mounted(t, image, func(dir string) { g.same("the kernel", want, dump(t, dir)) })
		}
	})
}

// roomy is a directory of a file system with room for large attributes, if there is one.
func roomy(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "squashfs")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// writeTo writes an image into a new file.
func writeTo(ctx context.Context, file, dir string, o squashfs.Options) (*squashfs.Result, error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	root, err := dirfd.Open(dir, dirfd.InRoot)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return squashfs.Write(ctx, f, root, o)
}

// mounted calls do with where an image is mounted, if it can be here.
func mounted(t *testing.T, image string, do func(dir string)) {
	t.Run("mounted", func(t *testing.T) {
		if dir := mount(t, image); dir != "" {
			do(dir)
		}
	})
}

// A grower makes a random tree.
type grower struct {
	*rapid.T
	dir    string
	block  int
	dirs   []string
	files  []string // that can have further names
	made   [][]byte // contents
	linked bool     // what is no regular file has several names
}

func (g *grower) check(errs ...error) {
	for _, err := range errs {
		if err != nil {
			g.Fatal(err)
		}
	}
}

func (g *grower) grow() {
	g.check(os.Mkdir(g.dir, 0o755))
	g.dirs = []string{g.dir}
	for range rapid.IntRange(0, 40).Draw(g.T, "files") {
		g.add()
	}
	// Last, as what is put into a directory changes its time.
	var all []string
	g.check(filepath.WalkDir(g.dir, func(name string, _ os.DirEntry, err error) error { all = append(all, name); return err }))
	for _, name := range slices.Backward(all) {
		g.attributes(name)
		at := rapid.OneOf(rapid.Int64Range(0, math.MaxUint32), rapid.SampledFrom([]int64{-1 << 31, -86400, -1, 0, 1<<31 - 1, 1 << 31, math.MaxUint32, 1 << 32, 1<<33 + 5})).Draw(g.T, "time")
		when := []unix.Timespec{{Sec: at}, {Sec: at, Nsec: 999999999}}
		g.check(unix.UtimesNanoAt(unix.AT_FDCWD, name, when, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// names have all bytes but two.
var names = rapid.OneOf(
	rapid.StringMatching(`[a-z]{1,3}`),
	rapid.SampledFrom([]string{" ", "-", "\n", "\\", "...", "\xff\xfe", "ü", strings.Repeat("n", 255), "\x01\x7f", "*"}),
	rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 40), func(b []byte) string {
		return string(bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("/"), []byte("|")), []byte{0}, []byte("0")))
	}),
)

func (g *grower) add() {
	parent := rapid.SampledFrom(g.dirs).Draw(g.T, "parent")
	name := parent + "/" + names.Draw(g.T, "name")
	if _, err := os.Lstat(name); err == nil {
		return // taken
	}
	kind := rapid.SampledFrom([]string{"file", "file", "file", "dir", "dir", "many", "link", "hard", "hard", "device", "fifo", "socket"}).Draw(g.T, "kind")
	switch kind {
	case "file":
		g.file(name)
	case "dir":
		g.check(os.Mkdir(name, 0o755))
		g.dirs = append(g.dirs, name)
		return
	case "many":
		g.check(os.Mkdir(name, 0o755))
		for i := range rapid.IntRange(250, 700).Draw(g.T, "many") {
			g.check(os.WriteFile(fmt.Sprintf("%s/%0*d", name, 1+i%60, i), nil, 0o644))
		}
		return
	case "link":
		g.check(os.Symlink(strings.Repeat("t", rapid.IntRange(1, 4095).Draw(g.T, "target")), name))
	case "hard":
		if len(g.files) > 0 {
			first := rapid.SampledFrom(g.files).Draw(g.T, "first name")
			st, err := os.Lstat(first)
			g.check(err)
			g.linked = g.linked || !st.Mode().IsRegular()
			g.check(os.Link(first, name))
		}
		return
	case "device":
		mode := rapid.SampledFrom([]uint32{unix.S_IFBLK, unix.S_IFCHR}).Draw(g.T, "device")
		g.check(unix.Mknod(name, mode|0o600, int(unix.Mkdev(rapid.Uint32Range(1, 0xfff).Draw(g.T, "major"), rapid.Uint32Range(0, 0xfffff).Draw(g.T, "minor")))))
	case "fifo":
		g.check(unix.Mkfifo(name, 0o600))
	case "socket":
		g.check(unix.Mknod(name, unix.S_IFSOCK|0o600, 0))
	}
	g.files = append(g.files, name)
	g.check(os.Lchown(name, rapid.SampledFrom([]int{0, 1000, 65536, math.MaxUint32 - 1}).Draw(g.T, "owner"), rapid.IntRange(0, 30).Draw(g.T, "group")))
	if kind != "link" {
		g.check(unix.Chmod(name, rapid.Uint32Range(0, 0o7777).Draw(g.T, "mode")))
	}
}

// file makes a file whose length is near a block, or several.
func (g *grower) file(name string) {
	f, err := os.Create(name)
	g.check(err)
	defer f.Close()
	if len(g.made) > 0 && rapid.IntRange(0, 3).Draw(g.T, "copy") == 0 {
		_, err := f.Write(rapid.SampledFrom(g.made).Draw(g.T, "of"))
		g.check(err)
		return
	}
	size := max(0, rapid.IntRange(0, 3).Draw(g.T, "blocks")*g.block+rapid.SampledFrom([]int{0, -1, 1, 7, g.block / 2, rapid.IntRange(0, 300).Draw(g.T, "rest")}).Draw(g.T, "off"))
	seed := rapid.Uint32().Draw(g.T, "content")
	data := make([]byte, size)
	for i := range data {
		if seed%3 == 0 { // does not compress
			seed = seed*1664525 + 1013904223
			data[i] = byte(seed >> 24)
		} else {
			data[i] = byte(i / int(seed%50+1))
		}
	}
	_, err = f.Write(data)
	g.check(err)
	g.made = append(g.made, data)
	if rapid.IntRange(0, 4).Draw(g.T, "hole") == 0 { // behind the data, or over them
		g.check(f.Truncate(int64(size + g.block*rapid.IntRange(0, 3).Draw(g.T, "holes") + 5)))
		from := rapid.IntRange(0, size/g.block).Draw(g.T, "hole at") * g.block
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(from), int64(g.block))
		if err != unix.EOPNOTSUPP {
			g.check(err)
		}
	}
}

// attributes gives some files some. Names and values that are long are rare: few file
// systems have room for them.
func (g *grower) attributes(name string) {
	if rapid.IntRange(0, 5).Draw(g.T, "with attributes") > 0 {
		return
	}
	var st unix.Stat_t
	g.check(unix.Lstat(name, &st))
	kinds := []string{"trusted.", "security."}
	if k := st.Mode & unix.S_IFMT; k == unix.S_IFREG || k == unix.S_IFDIR {
		kinds = append(kinds, "user.")
	}
	for range rapid.IntRange(1, 3).Draw(g.T, "attributes") {
		attr := rapid.SampledFrom(kinds).Draw(g.T, "attribute of") + rapid.StringMatching(`[a-zA-Z.]{1,20}`).Draw(g.T, "attribute")
		size := rapid.SampledFrom([]int{0, 1, 8, 100, 1000, 65536}).Draw(g.T, "size of value")
		value := bytes.Repeat([]byte{byte(size), 'v', rapid.Byte().Draw(g.T, "value")}, size/3+1)[:size]
		if err := unix.Lsetxattr(name, attr, value, 0); err != unix.ENOSPC && err != unix.E2BIG {
			g.check(err)
		}
	}
}

func (g *grower) unsquash(image, dir string) string {
	if out, err := exec.Command("unsquashfs", "-no-progress", "-dest", dir, image).CombinedOutput(); err != nil {
		g.Fatalf("%v\n%s", err, out)
	}
	return dir
}

func (g *grower) same(by, want, got string) {
	w, t := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range min(len(w), len(t)) {
		if w[i] != t[i] {
			g.Fatalf("read by %s, blocks of %d:\n got %.300q\nwant %.300q", by, g.block, t[i], w[i])
		}
	}
	if len(w) != len(t) {
		g.Fatalf("read by %s: %d lines, not %d", by, len(t), len(w))
	}
}
