package disk_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/disk"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/tree"
)

func TestMain(m *testing.M) {
	if code, ok := sandbox.Main(disk.Looking); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// newJob returns a job on a root file system that is the content of a directory, and skips the
// test where that cannot be done.
func newJob(t *testing.T, d disk.Disk) (job disk.Job, root string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: namespaces and mounts")
	}
	for _, name := range append(d.Needs(), "qemu-img") {
		if !host.Installed(name) {
			t.Skip(host.Missing(name, ""))
		}
	}
	if err := d.Ready(context.Background()); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"root", "out", "mnt"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	root = filepath.Join(dir, "root")
	stack := sandbox.Stack{Dir: root, ReadOnly: true, Point: filepath.Join(dir, "mnt")}
	return disk.Job{Disk: d, Stack: stack, Dir: filepath.Join(dir, "out"), Out: io.Discard, Log: slog.New(slog.DiscardHandler)}, root
}

// write makes files by their contents; one that ends in a slash is a directory.
func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(root, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil && strings.HasSuffix(name, "/") {
			err = os.MkdirAll(path, 0o755)
		} else if err == nil {
			err = os.WriteFile(path, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// everything makes files of all kinds that an image can have.
func everything(t *testing.T, root string) {
	t.Helper()
	write(t, root, map[string]string{
		"etc/os-release": "ID=x\n", "boot/vmlinuz-1": strings.Repeat("kernel", 30000), "usr/bin/ping": "ping", "srv/": "", "usr/bin/su": "su",
		"boot/efi/EFI/BOOT/BOOTX64.EFI": "loader", "boot/efi/EFI/debian/grub.cfg": strings.Repeat("# long\n", 1000), "boot/efi/EFI/debian/A Long Name.txt": "",
	})
	sparse, err := os.Create(filepath.Join(root, "srv/sparse"))
	if err == nil {
		_, err = sparse.WriteAt([]byte("end"), 64<<20)
	}
	if err != nil {
		t.Fatal(err)
	}
	capability := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	at := func(name string) string { return filepath.Join(root, name) }
	for what, err := range map[string]error{
		"close":      sparse.Close(),
		"setuid":     os.Chmod(at("usr/bin/su"), os.ModeSetuid|0o755),
		"sticky":     os.Chmod(at("srv"), os.ModeSticky|0o777),
		"owner":      os.Chown(at("etc/os-release"), 1000, 65534),
		"hard link":  os.Link(at("usr/bin/ping"), at("srv/ping")),
		"link":       os.Symlink("../usr/bin/ping", at("etc/link")),
		"long link":  os.Symlink(strings.Repeat("x/", 200)+"y", at("etc/longlink")),
		"fifo":       unix.Mkfifo(at("srv/fifo"), 0o600),
		"capability": unix.Setxattr(at("usr/bin/ping"), "security.capability", []byte(capability), 0),
		"xattr":      unix.Setxattr(at("etc/os-release"), "user.note", []byte("x"), 0),
		"time":       os.Chtimes(at("etc/os-release"), time.Unix(1e9, 0), time.Unix(1e9, 123456789)),
		"old":        os.Chtimes(at("boot/efi"), time.Unix(1e9, 0), time.Unix(1e9, 0)),
	} {
		if err != nil {
			t.Fatal(what, err)
		}
	}
}

// listing is all that makes up a tree, with times in seconds, as mke2fs keeps them.
func listing(t *testing.T, dir string) string {
	t.Helper()
	root, err := dirfd.Open(dir, dirfd.InRoot)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var b bytes.Buffer
	if err := tree.Dump(&b, root); err != nil {
		t.Fatal(err)
	}
	err = root.Walk(".", func(name string, st *unix.Stat_t) error {
		_, err := fmt.Fprintln(&b, "time", name, st.Mtim.Sec)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// output runs a program of this machine and returns what it says.
func output(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v\n%s", args, err, out)
	}
	return string(out)
}

// readBack copies what is in the root partition of a disk into a directory.
func readBack(t *testing.T, job disk.Job, part, fs string) string {
	t.Helper()
	to := t.TempDir()
	spec := sandbox.Spec{Mounts: []sandbox.Mount{{At: "/tmp/part", Source: part, FileSystem: fs}, {At: "/tmp/to", Source: to, Writable: true}}}
	cp := sandbox.Programs{List: []sandbox.Program{{Args: []string{"cp", "-a", "/tmp/part/.", "/tmp/to"}}}, Env: host.Environ(nil)}
	if err := sandbox.Run(context.Background(), spec, cp, io.Discard); err != nil {
		t.Fatal(err)
	}
	return to
}

// looped tells whether a loop device shows a file in a directory. By its number: the device
// was given the file by a mount in which it has no path.
func looped(dir string) bool {
	files := make(map[uint64]bool)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		var st unix.Stat_t
		if unix.Stat(filepath.Join(dir, e.Name()), &st) == nil {
			files[st.Ino] = true
		}
	}
	used, _ := filepath.Glob("/sys/block/loop*/loop")
	for _, name := range used {
		device, err := os.Open("/dev/" + filepath.Base(filepath.Dir(name)))
		if err != nil {
			continue
		}
		info, err := unix.IoctlLoopGetStatus64(int(device.Fd()))
		device.Close()
		if err == nil && files[info.Inode] {
			return true
		}
	}
	return false
}

// watchLoops finds out whether a loop device shows a file in a directory, until stop is closed.
func watchLoops(dir string) (stop chan struct{}, used chan bool) {
	stop, used = make(chan struct{}), make(chan bool, 1)
	go func() {
		seen := false
		for {
			seen = seen || looped(dir)
			select {
			case <-stop:
				used <- seen
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return stop, used
}

func TestDiskIsWhatItWasMadeOf(t *testing.T) {
	for _, fs := range disk.FileSystems {
		t.Run(fs, func(t *testing.T) {
			d := disk.Disk{}.Complete("debian", "trixie")
			d.FileSystem, d.Size, d.Names = fs, 512<<20, []string{"UEFI", "rootfs"}
			job, root := newJob(t, d)
			everything(t, root)
			stop, used := watchLoops(job.Dir)
			err := job.Raw(t.Context(), "disk.img")
			close(stop)
			if err != nil {
				t.Fatal(err)
			}
			if loops := <-used; fs == "ext4" && loops {
				t.Error("a loop device was used")
			} else if fs == "btrfs" && !loops {
				t.Log("no loop device was used: this machine's mkfs.btrfs makes subvolumes")
			}
			img := filepath.Join(job.Dir, "disk.img")
			if st, err := os.Stat(img); err != nil || st.Size() != d.Size {
				t.Fatal(st, err)
			}
			if out := output(t, "sgdisk", "-v", img); !strings.Contains(out, "No problems found") {
				t.Error(out)
			}
			table := output(t, "sgdisk", "-p", img)
			for _, want := range []string{"100.0 MiB   EF00  UEFI", "8300  rootfs", strings.ToUpper(d.TableUUID)} {
				if !strings.Contains(table, want) {
					t.Errorf("no %q in %s", want, table)
				}
			}
			esp, part := filepath.Join(t.TempDir(), "esp"), filepath.Join(t.TempDir(), "part")
			output(t, "dd", "if="+img, "of="+esp, "bs=1M", "skip=1", "count=100", "status=none")
			output(t, "dd", "if="+img, "of="+part, "bs=1M", "skip=101", "count=410", "conv=sparse", "status=none")
			output(t, "fsck.fat", "-n", esp)
			files := t.TempDir()
			output(t, "mcopy", "-s", "-m", "-i", esp, "::/", files)
			if out := output(t, "diff", "-r", files, filepath.Join(root, "boot/efi")); out != "" {
				t.Error(out)
			}
			for _, image := range []struct{ name, label, uuid string }{{esp, "UEFI", d.ESPUUID}, {part, "rootfs", d.UUID}} {
				out := output(t, "blkid", "-p", "-o", "export", image.name)
				if !strings.Contains(out, "LABEL="+image.label+"\n") || !strings.Contains(out, "\nUUID="+image.uuid+"\n") {
					t.Error(out)
				}
			}
			back := readBack(t, job, part, fs)
			if fs == "ext4" {
				output(t, "e2fsck", "-fn", part)
				if err := os.Remove(filepath.Join(back, "lost+found")); err != nil {
					t.Error(err)
				}
			} else {
				output(t, "btrfs", "check", part)
			}
			// On the disk the directory of the EFI partition is empty.
			st, _ := os.Stat(filepath.Join(root, "boot/efi"))
			if err := os.RemoveAll(filepath.Join(root, "boot/efi/EFI")); err != nil {
				t.Fatal(err)
			}
			os.Chtimes(filepath.Join(root, "boot/efi"), st.ModTime(), st.ModTime())
			for _, dir := range []string{root, back} { // its own time is that of the copy
				os.Chtimes(dir, st.ModTime(), st.ModTime())
			}
			if got, want := listing(t, back), listing(t, root); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			var is unix.Stat_t
			if err := unix.Stat(filepath.Join(back, "srv/sparse"), &is); err != nil || is.Blocks*512 > 1<<20 {
				t.Errorf("the sparse file takes %d bytes, %v", is.Blocks*512, err)
			}
		})
	}
}

// What a disk is made of is read at other times, and listed in another order, in each build. With
// an epoch nothing of that is on it.
func TestDisksRepeat(t *testing.T) {
	tests := []struct {
		summary string
		options []string
	}{
		{"as usual", nil},
		{"small inodes", []string{"-I", "128", "-O", "^extra_isize,^metadata_csum"}},
		{"no checksums", []string{"-O", "^metadata_csum,^64bit"}},
		{"a seed of checksums", []string{"-O", "metadata_csum_seed"}},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			var images []string
			for n := range 2 {
				d := disk.Disk{}.Complete("debian", "trixie")
				d.Size, d.Options = 256<<20, test.options
				job, root := newJob(t, d)
				job.Epoch = "1600000000"
				names := []string{"d/a", "d/b", "d/c", "d/now", "e/f"}
				if n == 1 {
					slices.Reverse(names)
				}
				for _, name := range names {
					write(t, root, map[string]string{name: name})
				}
				for _, name := range []string{"d/a", "d/b", "d/c", "e/f", "d", "e", "."} {
					if err := os.Chtimes(filepath.Join(root, name), time.Unix(int64(1.5e9+n), 0), time.Unix(1.4e9, 123)); err != nil {
						t.Fatal(err)
					}
				}
				for made := time.Now(); n == 0 && time.Now().Unix() == made.Unix(); { // inodes are dated by the kernel
					time.Sleep(10 * time.Millisecond)
				}
				if err := job.Raw(t.Context(), "disk.img"); err != nil {
					t.Fatal(err)
				}
				images = append(images, filepath.Join(job.Dir, "disk.img"))
			}
			part := filepath.Join(t.TempDir(), "part")
			output(t, "cmp", images[0], images[1])
			output(t, "dd", "if="+images[0], "of="+part, "bs=1M", "skip=101", "conv=sparse", "status=none")
			output(t, "e2fsck", "-fn", part)
			for name, want := range map[string]string{"/d/a": "0x53724e00", "/d/now": "0x5f5e1000"} {
				if got := strings.Count(output(t, "debugfs", "-R", "stat "+name, part), "time: "+want); got < 3 {
					t.Errorf("%s has %d times that are %s", name, got, want)
				}
			}
		})
	}
}

func TestQCow2(t *testing.T) {
	for _, method := range disk.Compressions {
		t.Run(method, func(t *testing.T) {
			d := disk.Disk{}.Complete("x")
			d.Size = 256 << 20
			job, root := newJob(t, d)
			write(t, root, map[string]string{"boot/efi/": "", "a": strings.Repeat("text\n", 1<<20)})
			if err := job.Raw(t.Context(), "raw"); err != nil {
				t.Fatal(err)
			}
			if err := job.QCow2(t.Context(), "raw", "disk.qcow2", method); err != nil {
				t.Fatal(err)
			}
			if list, err := os.ReadDir(job.Dir); err != nil || len(list) != 1 {
				t.Errorf("there are %v, %v", list, err)
			}
			file := filepath.Join(job.Dir, "disk.qcow2")
			output(t, "qemu-img", "check", "-q", file)
			info := output(t, "qemu-img", "info", file)
			want := "compression type: " + method
			if method == "none" {
				want = "file format: qcow2"
			}
			if !strings.Contains(info, want) || !strings.Contains(info, "virtual size: 256 MiB") {
				t.Error(info)
			}
			if st, err := os.Stat(file); err != nil || (st.Size() > 8<<20) {
				t.Errorf("it takes %d bytes, %v", st.Size(), err)
			}
		})
	}
}

func TestWhatCannotBeOnADisk(t *testing.T) {
	tests := []struct {
		summary string
		prepare func(t *testing.T, root string)
		change  func(*disk.Disk)
		err     string
	}{{
		summary: "a symbolic link on the EFI partition",
		prepare: func(t *testing.T, root string) {
			write(t, root, map[string]string{"boot/efi/": ""})
			os.Symlink("a", filepath.Join(root, "boot/efi/b"))
		},
		err: "/boot/efi/b is a symbolic link, which the EFI partition cannot hold",
	}, {
		summary: "names that differ by case there",
		prepare: func(t *testing.T, root string) {
			write(t, root, map[string]string{"boot/efi/EFI/BOOT/a": "", "boot/efi/EFI/boot/b": ""})
		},
		err: "/boot/efi/EFI/BOOT and boot are one name on the EFI partition",
	}, {
		summary: "a name that FAT does not take",
		prepare: func(t *testing.T, root string) { write(t, root, map[string]string{"boot/efi/a:b": ""}) },
		err:     "/boot/efi/a:b has a name that the EFI partition cannot hold",
	}, {
		summary: "a device",
		prepare: func(t *testing.T, root string) {
			write(t, root, map[string]string{"boot/efi/": ""})
			unix.Mkfifo(filepath.Join(root, "boot/efi/f"), 0o600)
		},
		err: "/boot/efi/f is neither a file nor a directory",
	}, {
		summary: "a link in place of the directory",
		prepare: func(t *testing.T, root string) {
			write(t, root, map[string]string{"boot/": "", "efi/": ""})
			os.Symlink("/efi", filepath.Join(root, "boot/efi"))
		},
		err: "/boot/efi is no directory",
	}, {
		summary: "more than the EFI partition has room for",
		prepare: func(t *testing.T, root string) {
			write(t, root, map[string]string{"boot/efi/a": strings.Repeat("x", 40<<20)})
		},
		change: func(d *disk.Disk) { d.ESPSize = 34 << 20 },
		err:    "the EFI partition is too small: what is in /boot/efi takes 40.0 MiB and there is room for 33.5 MiB; an esp_size of 41MiB is enough",
	}, {
		summary: "more than the root partition has room for",
		prepare: func(t *testing.T, root string) {
			write(t, root, map[string]string{"a": strings.Repeat("x", 200<<20)})
		},
		change: func(d *disk.Disk) { d.Size = 256 << 20 },
		err:    "the disk is too small: 256.0 MiB, and what is to be on it takes about",
	}, {
		summary: "more files than it has room for",
		prepare: func(t *testing.T, root string) {
			files := make(map[string]string)
			for i := range 3000 {
				files[fmt.Sprint("d/", i)] = ""
			}
			write(t, root, files)
		},
		change: func(d *disk.Disk) { d.Size = 118 << 20 },
		err:    "the disk is too small",
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			d := disk.Disk{}.Complete("x")
			if test.change != nil {
				test.change(&d)
			}
			job, root := newJob(t, d)
			test.prepare(t, root)
			err := job.Raw(t.Context(), "disk.img")
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Fatalf("got %v, want %s", err, test.err)
			}
			_, size, ok := strings.Cut(err.Error(), "size of ")
			if !ok {
				return
			}
			// What it says is true.
			var mib int64
			fmt.Sscanf(size, "%dMiB", &mib)
			if strings.Contains(err.Error(), "esp_size") {
				job.Disk.ESPSize = mib << 20
			} else {
				job.Disk.Size = mib << 20
			}
			job.Dir = t.TempDir()
			if err := job.Raw(t.Context(), "disk.img"); err != nil {
				t.Errorf("with what it says: %v", err)
			}
		})
	}
}

func TestDoubts(t *testing.T) {
	tests := []struct {
		summary string
		files   map[string]string
		want    string
	}{
		{"nothing", map[string]string{"a": ""}, "there is no kernel in /boot; there is no boot loader where firmware looks for one, /boot/efi/EFI/BOOT/BOOT*.EFI"},
		{"a kernel", map[string]string{"boot/vmlinuz-6": ""}, "there is no boot loader where firmware looks for one, /boot/efi/EFI/BOOT/BOOT*.EFI"},
		{"a boot loader for another firmware", map[string]string{"boot/vmlinuz": "", "boot/efi/EFI/debian/grubx64.efi": ""}, "there is no boot loader where firmware looks for one, /boot/efi/EFI/BOOT/BOOT*.EFI"},
		{"both", map[string]string{"boot/Image": "", "boot/efi/efi/boot/bootaa64.efi": ""}, ""},
		{"a kernel on the EFI partition", map[string]string{"boot/efi/EFI/Linux/x.efi": "", "boot/efi/EFI/BOOT/BOOTX64.EFI": ""}, ""},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			job, root := newJob(t, disk.Disk{}.Complete("x"))
			write(t, root, test.files)
			content, err := disk.Looking.Run(t.Context(), []sandbox.Stack{job.Stack}, false)
			if got := strings.Join(content.Doubts(), "; "); err != nil || got != test.want {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}
