package sandbox_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/sandbox"
)

// newDisk returns a disk whose devices hold what they are for.
func newDisk(t *testing.T) []sandbox.Partition {
	t.Helper()
	dir := t.TempDir()
	disk := []sandbox.Partition{
		{Device: "/dev/sda2", At: "/", Image: filepath.Join(dir, "root"), Links: []string{"/dev/disk/by-label/rootfs", "/dev/disk/by-uuid/1"}},
		{Device: "/dev/sda1", At: "/boot/efi", Image: filepath.Join(dir, "esp"), Links: []string{"/dev/disk/by-label/UEFI"}, Size: 1 << 20},
	}
	for _, p := range disk {
		if err := os.WriteFile(p.Image, []byte("stands for "+p.Device+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return disk
}

func TestDisk(t *testing.T) {
	tests := []struct {
		summary string
		scripts []string // of one session
		out     string   // of the last
		kept    string   // below /boot/efi; "": nothing
	}{{
		summary: "the table of mounts names the devices",
		scripts: []string{`while read -r id above dev from at options; do case $at in / | /boot/efi) echo "$at" "${options##* - }"; esac; done </proc/self/mountinfo |
			while read -r at type source rest; do echo "$at $source"; done`},
		out: "/ /dev/sda2\n/boot/efi /dev/sda1\n",
	}, {
		summary: "the devices can be read, under all their names",
		scripts: []string{"cat /dev/sda1 /dev/disk/by-label/rootfs /dev/disk/by-uuid/1; readlink /dev/disk/by-label/UEFI"},
		out:     "stands for /dev/sda1\nstands for /dev/sda2\nstands for /dev/sda2\n/dev/sda1\n",
	}, {
		summary: "and not be written",
		scripts: []string{"{ echo x >/dev/sda2; } 2>/dev/null || echo no"},
		out:     "no\n",
	}, {
		summary: "what is put into the directory stays there",
		scripts: []string{"mkdir -p /boot/efi/EFI/BOOT; echo x >/boot/efi/EFI/BOOT/a", "cat /boot/efi/EFI/BOOT/a; ln /boot/efi/EFI/BOOT/a /boot/efi/b"},
		out:     "x\n",
		kept:    "/EFI/BOOT/a /b",
	}, {
		summary: "what is removed is gone",
		scripts: []string{"echo x >/boot/efi/a; echo y >/boot/efi/b", "rm /boot/efi/a"},
		kept:    "/b",
	}, {
		summary: "also if it is unmounted in the end, for good",
		scripts: []string{"echo x >/boot/efi/a; umount /boot/efi", "grep -q ' /boot/efi ' /proc/self/mountinfo || echo 0; cat /boot/efi/a; echo y >/boot/efi/b"},
		out:     "0\nx\n",
		kept:    "/a /b",
	}, {
		summary: "it holds no more than the partition",
		scripts: []string{"dd if=/dev/zero of=/boot/efi/a bs=1024k count=2 2>/dev/null || echo full; rm /boot/efi/a"},
		out:     "full\n",
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			stack := newStack(t)
			disk := newDisk(t)
			var out bytes.Buffer
			for i, text := range test.scripts {
				if i > 0 {
					stack = next(t, stack)
				}
				out.Reset()
				err := sandbox.Run(context.Background(), sandbox.Spec{Root: stack, Disk: disk, Session: true}, script(text), &out)
				if err != nil {
					t.Fatal(err)
				}
			}
			if out.String() != test.out {
				t.Errorf("got %q, want %q", out.String(), test.out)
			}
			var kept []string
			for line := range strings.Lines(merged(t, stack)) {
				if name, ok := strings.CutPrefix(strings.Fields(line)[0], "/boot/efi/"); ok && !strings.Contains(line, " dir ") {
					kept = append(kept, "/"+name)
				}
			}
			if strings.Join(kept, " ") != test.kept {
				t.Errorf("kept %q, want %q", kept, test.kept)
			}
		})
	}
}

// A step that changes nothing there adds nothing to its layer.
func TestUnchangedPartitionAddsNothing(t *testing.T) {
	stack := newStack(t)
	disk := newDisk(t)
	for i, text := range []string{"mkdir -p /boot/efi/EFI; echo x >/boot/efi/EFI/a", "cat /boot/efi/EFI/a"} {
		if i > 0 {
			stack = next(t, stack)
		}
		if err := sandbox.Run(context.Background(), sandbox.Spec{Root: stack, Disk: disk}, script(text), new(bytes.Buffer)); err != nil {
			t.Fatal(err)
		}
	}
	if got := dump(t, stack.Upper); strings.Contains(got, "/boot/efi/EFI") {
		t.Errorf("got %s", got)
	}
}

// A directory of a root file system is hidden from programs of the host, which find one that
// looks the same.
func TestHiddenDirectory(t *testing.T) {
	stack := newStack(t)
	stack.Lower, stack.Upper = []string{stack.Lower[0]}, ""
	if err := os.WriteFile(filepath.Join(stack.Lower[0], "etc/a"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	ls := sandbox.Programs{List: []sandbox.Program{{Args: []string{"ls", "-A", "/tmp/rootfs", "/tmp/rootfs/etc"}}}, Env: host.Environ(nil)}
	err := sandbox.Run(context.Background(), sandbox.Spec{Mounts: []sandbox.Mount{{At: "/tmp/rootfs", Stack: stack, Hidden: "/etc"}}}, ls, &out)
	if want := "/tmp/rootfs:\nbin\netc\ntmp\nusr\n\n/tmp/rootfs/etc:\n"; err != nil || out.String() != want {
		t.Errorf("got %q, %v", out.String(), err)
	}
	missing := sandbox.Spec{Mounts: []sandbox.Mount{{At: "/tmp/rootfs", Stack: stack, Hidden: "/missing"}}}
	if err := sandbox.Run(context.Background(), missing, ls, &out); err == nil || errors.Is(err, sandbox.ErrOverlay) {
		t.Errorf("got %v", err)
	}
}
