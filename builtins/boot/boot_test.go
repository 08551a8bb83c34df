package boot_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imagebuilder/builtins/boot"
	"imagebuilder/builtins/host"
)

// guest is one whose QEMU is a script, which finds the files of the guest where QEMU would.
func guest(t *testing.T, script string, files ...string) boot.Guest {
	t.Helper()
	g := boot.Guest{Files: files, Architecture: "x86_64"}
	for name, pkg := range g.Needs() {
		if !strings.HasPrefix(name, "qemu-system-") && !host.Installed(name) {
			t.Skipf("needs %s (Debian package %s)", name, pkg)
		}
	}
	bin := t.TempDir()
	if err := os.WriteFile(bin+"/qemu-system-x86_64", []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	return g
}

// scratch is the empty directory that files without names are made in.
func scratch(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
	return dir
}

// raw is a disk with a partition table that has nothing on it.
var raw = append(append(make([]byte, 510), 0x55, 0xaa), make([]byte, 1<<20)...)

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestWait(t *testing.T) {
	tests := []struct {
		summary string
		script  string
		timeout time.Duration
		console string
		err     string
		last    string
	}{{
		summary: "a login prompt",
		script:  `printf '\033[2JDebian\r\nhost login: '; exec sleep 600`,
		console: "Debian\nhost login: \n",
	}, {
		summary: "it is shut down",
		script:  `echo Debian`,
		console: "Debian\n",
		err:     `disk.img does not boot: it was shut down before "login:" was on its console`,
		last:    "Debian",
	}, {
		summary: "QEMU fails",
		script:  `echo Debian; echo no memory >&2; exit 1`,
		console: "Debian\nno memory\n",
		err:     `disk.img does not boot: QEMU ended before "login:" was on its console: exit status 1`,
		last:    "Debian\nno memory",
	}, {
		summary: "a panic ends it at once",
		script:  `echo Debian; echo Kernel panic - not syncing: no init; exec sleep 600`,
		console: "Debian\nKernel panic - not syncing: no init\n",
		err:     "disk.img does not boot: its kernel has panicked",
		last:    "Debian\nKernel panic - not syncing: no init",
	}, {
		summary: "it takes too long",
		script:  `echo Debian; exec sleep 600`,
		timeout: time.Second,
		console: "Debian\n",
		err:     `disk.img does not boot: "login:" was not on its console within 1s`,
		last:    "Debian",
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			scratch(t)
			g := guest(t, test.script, write(t, "disk.img", raw))
			var console bytes.Buffer
			g.Console, g.Timeout = &console, test.timeout
			booted, err := g.Wait(t.Context(), "login:")
			if (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
				t.Fatalf("got %v, want %s", err, test.err)
			}
			var exit *host.ExitError
			if errors.As(err, &exit) && exit.Output != test.last {
				t.Errorf("the last lines: %q", exit.Output)
			}
			if err == nil && (booted.Took <= 0 || booted.By == "") {
				t.Errorf("got %+v", booted)
			}
			if console.String() != test.console {
				t.Errorf("the console: %q", &console)
			}
		})
	}
}

// An end of the context is no fault of the image.
func TestWaitIsCancelled(t *testing.T) {
	scratch(t)
	g := guest(t, "echo up; exec sleep 600", write(t, "disk.img", raw))
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	g.Console = writer(func([]byte) { cancel(cause) })
	if _, err := g.Wait(ctx, "login:"); err != cause {
		t.Errorf("got %v", err)
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

// Whatever the guest writes to its disk, the image stays as it is.
func TestImageIsNotChanged(t *testing.T) {
	scratch(t)
	file := write(t, "disk.img", raw)
	g := guest(t, `qemu-io -c 'write -P 7 0 64k' /proc/self/fd/4 >&2 && qemu-io -r -c 'read -P 7 0 64k' /proc/self/fd/4 | grep failed; echo written; exec sleep 600`, file)
	if _, err := g.Wait(t.Context(), "written"); err != nil {
		t.Fatal(err)
	}
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, raw) {
		t.Errorf("the image has changed: %v", err)
	}
}

// The disk is found in whatever an image consists of: QEMU gets it as it is.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	put := func(name string, data []byte) {
		if err := os.WriteFile(file(name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	for _, program := range []string{"qemu-img", "qemu-io", "xz"} {
		if !host.Installed(program) {
			t.Skipf("needs %s (Debian packages qemu-utils, xz-utils)", program)
		}
	}
	put("disk.img", raw)
	run("qemu-img", "convert", "-O", "qcow2", "-c", file("disk.img"), file("disk.qcow2"))
	run("qemu-img", "create", "-q", "-f", "qcow2", "-b", file("disk.qcow2"), "-F", "qcow2", file("overlay.qcow2"))
	qcow2, err := os.ReadFile(file("disk.qcow2"))
	if err != nil {
		t.Fatal(err)
	}
	put("lxd.tar", archive("./metadata.yaml", "architecture: amd64\n", "templates/x", "x"))
	put("arm.tar", archive("metadata.yaml", "architecture: aarch64\n"))
	put("vax.tar", archive("metadata.yaml", "architecture: vax\n"))
	put("bad.tar", archive("metadata.yaml", "architecture: [\n"))
	put("unified.tar", archive("metadata.yaml", "architecture: x86_64\n", "./rootfs.img", string(qcow2)))
	put("rawunified.tar", archive("rootfs.img", string(raw), "metadata.yaml", "architecture: x86_64\n"))
	put("nodisk.tar", archive("metadata.yaml", "architecture: x86_64\n", "rootfs.img", strings.Repeat("x", 1000)))
	put("container.tar", archive("metadata.yaml", "architecture: x86_64\n", "rootfs/bin/sh", "x"))
	put("cut.tar", archive("metadata.yaml", "architecture: x86_64\n", "rootfs.img", string(qcow2))[:9000])
	put("rootfs.squashfs", append([]byte("hsqs"), raw...))
	put("text", []byte("nothing at all\n"))
	for _, name := range []string{"disk.img", "lxd.tar", "unified.tar"} {
		run("xz", "-k", file(name))
	}
	tests := []struct {
		files string
		err   string
	}{
		{"disk.img", ""},
		{"disk.qcow2", ""},
		{"disk.img.xz", ""},
		{"unified.tar", ""},
		{"unified.tar.xz", ""},
		{"rawunified.tar", ""},
		{"lxd.tar.xz disk.qcow2", ""},
		{"disk.img lxd.tar", ""},
		{"arm.tar disk.qcow2", ""}, // what is asked for counts
		{"lxd.tar", "there is no disk to boot in lxd.tar"},
		{"vax.tar disk.qcow2", ""},
		{"disk.img disk.qcow2", "cannot boot disk.qcow2: there is another disk, in disk.img"},
		{"overlay.qcow2", "cannot boot overlay.qcow2: it is only the difference to another disk image"},
		{"container.tar", "cannot boot container.tar: it is the root file system of a container: LXD can start it, with --lxd"},
		{"lxd.tar rootfs.squashfs", "cannot boot rootfs.squashfs: it is the root file system of a container: LXD can start it, with --lxd"},
		{"nodisk.tar", "cannot boot nodisk.tar: rootfs.img: nodisk.tar is no disk"},
		{"cut.tar", "cannot boot cut.tar: rootfs.img: unexpected EOF"},
		{"bad.tar", "cannot boot bad.tar: cannot read its metadata.yaml: yaml: line 1: did not find expected node content"},
		{"text", "cannot boot text: it is neither an archive nor an image of a file system that is known: it begins with 6e 6f 74 68 69 6e 67 20"},
		{"none", "cannot boot none: no such file or directory"},
		{".", "cannot boot .: it is no regular file"},
	}
	for _, test := range tests {
		t.Run(test.files, func(t *testing.T) {
			scratch(t)
			var files []string
			for _, name := range strings.Fields(test.files) {
				files = append(files, dir+"/"+name)
			}
			g := guest(t, "qemu-io -r -c 'read -v 510 2' /proc/self/fd/4; exec sleep 600", files...)
			_, err := g.Wait(t.Context(), "000001fe:  55 aa")
			if (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
				t.Errorf("got %v, want %s", err, test.err)
			}
		})
	}
	g := boot.Guest{Files: []string{file("vax.tar"), file("disk.img")}}
	if _, err := g.Wait(t.Context(), "x"); err == nil || err.Error() != `cannot boot disk.img: no virtual machine is known for the architecture "vax", only for x86_64 and aarch64` {
		t.Errorf("got %v", err)
	}
}

// archive is a tar archive of names and contents.
func archive(entries ...string) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i := 0; i < len(entries); i += 2 {
		w.WriteHeader(&tar.Header{Name: entries[i], Size: int64(len(entries[i+1])), Mode: 0o644})
		w.Write([]byte(entries[i+1]))
	}
	w.Close()
	return out.Bytes()
}

func TestCheck(t *testing.T) {
	tests := []struct {
		guest  boot.Guest
		expect string
		err    string
	}{
		{boot.Guest{}, "", "the text to wait for is empty"},
		{boot.Guest{}, "a\nb", `the text to wait for is part of a line, so "a\nb" has no control characters`},
		{boot.Guest{}, strings.Repeat("x", 501), "the text to wait for has more than 500 bytes"},
		{boot.Guest{Memory: 64 << 20}, "x", "64.0 MiB of memory are too little, the least is 128.0 MiB"},
		{boot.Guest{Timeout: -1}, "x", "the timeout is negative"},
		{boot.Guest{Architecture: "vax"}, "x", `no virtual machine is known for the architecture "vax", only for x86_64 and aarch64`},
	}
	for _, test := range tests {
		if _, err := test.guest.Wait(t.Context(), test.expect); err == nil || err.Error() != test.err {
			t.Errorf("got %v, want %s", err, test.err)
		}
	}
}

// What is missing is named with its package, all of it at once.
func TestMissing(t *testing.T) {
	file := write(t, "disk.img", raw)
	t.Setenv("PATH", t.TempDir())
	_, err := boot.Guest{Files: []string{file}, Architecture: "arm64"}.Wait(t.Context(), "x")
	for _, text := range []string{
		"cannot boot disk.img: ", "qemu-system-aarch64 is not installed; the Debian package qemu-system-arm brings it",
		"qemu-img is not installed; the Debian package qemu-utils brings it",
	} {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in: %v", text, err)
		}
	}
}
