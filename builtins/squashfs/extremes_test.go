package squashfs_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/squashfs"
)

// packer is set in processes that only pack: the tree, the image and the method.
const packer = "SQUASHFS_TEST_PACK"

func TestMain(m *testing.M) {
	if args := strings.Split(os.Getenv(packer), "\n"); len(args) == 3 {
		debug.SetGCPercent(squashfs.GCPercent)
		c, err := squashfs.NewCompressor(args[2], -1, host.Program{})
		if err == nil {
			_, err = writeTo(context.Background(), args[1], args[0], squashfs.Options{Compressor: c})
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(peak())
		os.Exit(0)
	}
	code := m.Run()
	os.RemoveAll(packerDir) // if there is one
	os.Exit(code)
}

// peak is how much memory this process had at most, in KiB.
func peak() (kib int) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if n, _ := fmt.Sscanf(lines.Text(), "VmHWM: %d kB", &kib); n == 1 {
			return kib
		}
	}
	return 0
}

// packerDir has the packer, once it is built.
var packerDir string

// builtPacker is this test, built without the race detector, which takes memory of its own.
var builtPacker = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "squashfs")
	if err != nil {
		return "", err
	}
	packerDir = dir
	exe := filepath.Join(dir, "packer")
	if out, err := exec.Command("go", "test", "-race=false", "-c", "-o", exe, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return exe, nil
})

// packing is a process that packs.
func packing(t testing.TB, dir, image, method string, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := builtPacker()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), packer+"="+dir+"\n"+image+"\n"+method), env...)
	return cmd
}

// pack packs in a process of its own and returns how many KiB of memory that took.
func pack(t testing.TB, dir, image, method string, env ...string) int {
	t.Helper()
	out, err := packing(t, dir, image, method, env...).CombinedOutput()
	var kib int
	if err == nil {
		_, err = fmt.Sscan(string(out), &kib)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return kib
}

// A hundred thousand files are packed in little memory.
func TestMemory(t *testing.T) {
	files, most := 100_000, 48<<10 // 40 MiB on a quiet machine: on a busy one garbage is collected later
	if os.Getenv("IMAGEBUILDER_TEST_ALL") != "" {
		files, most = 1_000_000, 104<<10 // the aim is 100 MiB: what there is of garbage varies
	}
	for _, dirs := range []int{1, files / 4} {
		dir := filepath.Join(roomy(t), "tree")
		for i := range dirs {
			sub := filepath.Join(dir, fmt.Sprintf("%d/%d", i%100, i))
			if err := os.MkdirAll(sub, 0o755); err != nil {
				t.Fatal(err)
			}
			for n := range files / dirs {
				if err := os.WriteFile(fmt.Sprintf("%s/file number %d", sub, n), fmt.Appendf(nil, "%d", n), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
		image := filepath.Join(t.TempDir(), "image")
		kib := pack(t, dir, image, "gzip")
		t.Logf("%d files in %d directories: %d KiB", files, dirs, kib)
		if kib > most {
			t.Errorf("%d files in %d directories took %d KiB of memory, more than %d", files, dirs, kib, most)
		}
		if m, err := read(image); err != nil {
			t.Error(err)
		} else if named := len(m.paths); named < files+dirs {
			t.Errorf("the image has %d names, and there are %d files in %d directories", named, files, dirs)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// What compresses takes memory of its own. That of the library of zstd is tables of some
// 34 MiB for each encoder at the level that 10 and more stand for; no option makes them less.
func TestMemoryOfMethods(t *testing.T) {
	dir := t.TempDir()
	text := bytes.Repeat([]byte("all work and no play makes "), 40000)
	for i := range 20 {
		for n := range text[:len(text)/2] {
			text[n*2] = byte(i*n>>7) ^ byte(n*7919)
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, method := range squashfs.Methods {
		image := filepath.Join(t.TempDir(), "image")
		kib := pack(t, dir, image, method)
		st, err := os.Stat(image)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d KiB, image of %d bytes", method, kib, st.Size())
		most := 64 << 10
		if method == "zstd" {
			most = 104 << 10
		}
		if kib > most {
			t.Errorf("%s takes %d KiB of memory", method, kib)
		}
	}
}

// What a tree may be, however odd, is in the image.
func TestExtremes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("owners are root's to set")
	}
	tests := []struct {
		summary string
		make    func(dir string) error
		err     string
		names   int // in the image
	}{
		{summary: "nothing", names: 1},
		{summary: "one file", names: 2, make: func(dir string) error { return os.WriteFile(dir+"/file", []byte("file"), 0o644) }},
		{summary: "directories only", names: 4, make: func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/a/b", 0o755), os.Mkdir(dir+"/"+strings.Repeat("n", 255), 0o700))
		}},
		{summary: "sizes around a block", names: 6, make: func(dir string) error {
			for _, n := range []int{0, 1, 4095, 4096, 4097} {
				if err := os.WriteFile(fmt.Sprint(dir, "/", n), bytes.Repeat([]byte("x"), n), 0o644); err != nil {
					return err
				}
			}
			return nil
		}},
		{summary: "a file a thousand directories deep, whose path is longer than the kernel takes", names: 1002, make: func(dir string) error {
			at, err := os.Open(dir)
			for i := 0; i < 1000 && err == nil; i++ {
				name := fmt.Sprintf("directory %d", i)
				if err = unix.Mkdirat(int(at.Fd()), name, 0o755); err != nil {
					break
				}
				fd, e := unix.Openat(int(at.Fd()), name, unix.O_DIRECTORY, 0)
				at.Close()
				at, err = os.NewFile(uintptr(fd), name), e
			}
			if err != nil {
				return err
			}
			defer at.Close()
			fd, err := unix.Openat(int(at.Fd()), "file", unix.O_CREAT|unix.O_WRONLY, 0o644)
			if err != nil {
				return err
			}
			f := os.NewFile(uintptr(fd), "file")
			_, err = f.WriteString("deep")
			return errors.Join(err, f.Close())
		}},
		{summary: "as many owners as there can be", names: 65536, make: owners(65535)},
		{summary: "more owners", make: owners(65536), err: "squashfs holds no more than 65535 users and groups"},
		{summary: "a size near 2^63", make: func(dir string) error {
			f, err := os.Create(dir + "/large")
			if err != nil {
				return err
			}
			return errors.Join(f.Truncate(1<<63-4097), f.Close())
		}, err: "cannot read /large: it has 9223372036854771711 bytes, and squashfs holds no more than 68719476736 in blocks of 4096"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			dir := filepath.Join(roomy(t), "tree")
			err := os.Mkdir(dir, 0o755)
			if err == nil && test.make != nil {
				err = test.make(dir)
			}
			if err != nil {
				t.Fatal(err)
			}
			image := filepath.Join(t.TempDir(), "image")
			_, err = writeTo(t.Context(), image, dir, squashfs.Options{Compressor: compressor(t, "gzip", -1), BlockSize: 4096})
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("the error is %v, not %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			m, err := read(image)
			if err != nil {
				t.Fatal(err)
			}
			if len(m.paths) != test.names {
				t.Errorf("%d names, not %d", len(m.paths), test.names)
			}
			if mounted := mount(t, image); mounted != "" && test.names < 65536 {
				root, err := dirfd.Open(mounted, dirfd.InRoot)
				if err != nil {
					t.Fatal(err)
				}
				defer root.Close()
				n := 0
				if err := root.Walk(".", func(string, *unix.Stat_t) error { n++; return nil }); err != nil || n != test.names {
					t.Errorf("the kernel: %d names, not %d: %v", n, test.names, err)
				}
			}
		})
	}
}

// owners makes files of so many users and groups, root among them.
func owners(n int) func(dir string) error {
	return func(dir string) error {
		for i := 1; i <= n; i++ { // root is that of the directory
			name := fmt.Sprintf("%s/%d", dir, i)
			if err := unix.Mknod(name, unix.S_IFIFO|0o644, 0); err != nil {
				return err
			}
			if err := os.Lchown(name, i%n, 0); err != nil {
				return err
			}
		}
		if n > 65535 {
			return os.Lchown(dir, n, 0)
		}
		return nil
	}
}

// Whatever is going on when it is cancelled, writing ends soon, with the cause, and nothing
// goes on in the background.
func TestCancelled(t *testing.T) {
	dir := manyFiles(t)
	cause := errors.New("enough")
	for _, method := range squashfs.Methods {
		for phase, now := range map[string]func(squashfs.Progress) bool{
			"read":       func(p squashfs.Progress) bool { return p.Hashed > p.ToHash/2 },
			"compressed": func(p squashfs.Progress) bool { return p.Compressed > p.ToCompress/2 },
		} {
			t.Run(method+" "+phase, func(t *testing.T) {
				before := runtime.NumGoroutine()
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				_, err := writeTo(ctx, filepath.Join(t.TempDir(), "image"), dir, squashfs.Options{Compressor: compressor(t, method, -1), BlockSize: 64 << 10,
					Progress: func(p squashfs.Progress) {
						if now(p) {
							cancel(cause)
						}
					}})
				if !errors.Is(err, cause) {
					t.Errorf("the error is %v", err)
				}
				for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
					if time.Now().After(deadline) {
						t.Fatalf("%d goroutines, and there were %d", runtime.NumGoroutine(), before)
					}
				}
			})
		}
	}
}

// Neither the number of threads nor what the environment says to xz changes a byte, nor does
// who packs.
func TestSameBytes(t *testing.T) {
	dir := manyFiles(t)
	for i := 4; i < 40; i++ { // some blocks are enough
		if err := os.RemoveAll(filepath.Join(dir, fmt.Sprint("d", i))); err != nil {
			t.Fatal(err)
		}
	}
	for _, method := range squashfs.Methods {
		var want []byte
		for i, env := range [][]string{{"GOMAXPROCS=1"}, {"GOMAXPROCS=2"}, {"GOMAXPROCS=4"}, {"XZ_OPT=-0", "XZ_DEFAULTS=-0 --check=sha256"}} {
			image := filepath.Join(t.TempDir(), "image")
			pack(t, dir, image, method, env...)
			got, err := os.ReadFile(image)
			if err != nil {
				t.Fatal(err)
			}
			if i == 0 {
				want = got
			} else if !bytes.Equal(got, want) {
				t.Errorf("%s: other bytes with %s", method, env)
			}
		}
		if os.Getuid() != 0 {
			continue
		}
		const nobody = 65534
		image := filepath.Join(t.TempDir(), "image")
		reachable := errors.Join(os.Chmod(packerDir, 0o755), os.Chmod(filepath.Dir(filepath.Dir(image)), 0o755))
		if err := errors.Join(reachable, os.Chown(filepath.Dir(image), nobody, nobody)); err != nil {
			t.Fatal(err)
		}
		cmd := packing(t, dir, image, method)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("as an ordinary user: %v\n%s", err, out)
		}
		if got, err := os.ReadFile(image); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: other bytes from an ordinary user (%v)", method, err)
		}
	}
}

// A disk that is full is the error, with the name of the image.
func TestFullDisk(t *testing.T) {
	dir := manyFiles(t)
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	root, err := dirfd.Open(dir, dirfd.InRoot)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for _, method := range squashfs.Methods {
		_, err = squashfs.Write(t.Context(), full, root, squashfs.Options{Compressor: compressor(t, method, -1)})
		if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "/dev/full") {
			t.Errorf("%s: the error is %v", method, err)
		}
	}
}
