package sources_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The disks of the real definitions: what installs boot loaders are stand-ins, too, that leave
// what a definition goes on with, or the firmware starts.

// loaders are the programs that install boot loaders, kernels and users, and what packages of
// those bring that definitions name.
func loaders() map[string]string {
	writes := func(program, then string) string { return standIns(program)["usr/bin/"+program] + then + "\n" }
	const (
		config  = `for last; do :; done; mkdir -p "${last%/*}"; echo "linux /boot/vmlinuz root=/dev/sda2 ro" >"$last"`
		loader  = `mkdir -p /boot/efi/EFI/BOOT; echo loader >/boot/efi/EFI/BOOT/BOOTX64.EFI`
		account = `for name; do case $name in
archlinux | opensuse | ubuntu)
	echo "$name:x:1000:1000::/home/$name:/bin/sh" >>/etc/passwd
	echo "$name:x:1000:" >>/etc/group
	mkdir -p "/home/$name" ;;
esac; done`
	)
	return with(standIns("bootctl", "dracut", "grubby", "locale-gen", "mkinitcpio", "sudo"), map[string]string{
		"usr/bin/grub-install":             writes("grub-install", loader),
		"usr/bin/grub2-install":            writes("grub2-install", loader),
		"usr/bin/shim-install":             writes("shim-install", loader),
		"usr/bin/grub-mkconfig":            writes("grub-mkconfig", config),
		"usr/bin/grub2-mkconfig":           writes("grub2-mkconfig", config),
		"usr/bin/update-grub":              writes("update-grub", "set -- /boot/grub/grub.cfg; "+config),
		"usr/bin/systemd-machine-id-setup": writes("systemd-machine-id-setup", "echo 0123 >/etc/machine-id"),
		"usr/bin/useradd":                  writes("useradd", account),

		"sbin/init":                     "-> /lib/systemd/systemd",
		"boot/initramfs-6.1.img":        "",
		"boot/vmlinuz-6.1":              "",
		"boot/loader/entries/6.1.conf":  "linux /upper/overlay/boot/vmlinuz-6.1\n",
		"etc/default/.keep":             "",
		"etc/gdm/.keep":                 "",
		"etc/gdm3/.keep":                "",
		"etc/grub2-efi.cfg":             "",
		"etc/kernel/.keep":              "",
		"etc/mkinitcpio.conf":           "MODULES=()\n",
		"etc/mkinitcpio.d/linux.preset": "PRESETS=(default fallback)\n",
		"etc/sysconfig/displaymanager":  "DISPLAYMANAGER_AUTOLOGIN=\n",
		"etc/systemd/system/.keep":      "",
		"etc/systemd/user/.keep":        "",
	})
}

// buildDisk makes the image of a virtual machine and looks into its disk.
func (d definition) buildDisk(t *testing.T, cache, file string, set []string, kinds []string) {
	for _, program := range []string{"debugfs", "mtype", "qemu-img", "sfdisk", "sgdisk", "mkfs.vfat"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("cannot look into a disk: %v", err)
		}
	}
	out := t.TempDir()
	imagebuilder(t, "build-lxd", append([]string{"--vm", "--cache", cache, "--compression", "gzip-1", file, out,
		"-o", "targets.lxd.vm.filesystem=ext4", "-o", "targets.lxd.vm.size=320MiB"}, set...)...)
	raw := filepath.Join(out, "raw")
	printed(t, "qemu-img", "convert", "-O", "raw", filepath.Join(out, "disk.qcow2"), raw)
	var disk struct {
		Table struct {
			Partitions []struct{ Start int64 } `json:"partitions"`
		} `json:"partitiontable"`
	}
	if err := json.Unmarshal([]byte(printed(t, "sfdisk", "--json", raw)), &disk); err != nil || len(disk.Table.Partitions) != 2 {
		t.Fatalf("the disk has the partitions %v: %v", disk.Table.Partitions, err)
	}
	read := func(name string) string {
		if esp, ok := strings.CutPrefix(name, "boot/efi/"); ok {
			return printed(t, "mtype", "-i", fmt.Sprintf("%s@@%d", raw, disk.Table.Partitions[0].Start*512), "::/"+esp)
		}
		return printed(t, "debugfs", "-R", "cat /"+name, fmt.Sprintf("%s?offset=%d", raw, disk.Table.Partitions[1].Start*512))
	}
	if fstab := read("etc/fstab"); !strings.Contains(fstab, "LABEL=rootfs") || !strings.Contains(fstab, "LABEL=UEFI") {
		t.Errorf("fstab is %q", fstab)
	}
	log := read(record)
	for _, kind := range kinds {
		for _, want := range d.onDisk[kind] {
			switch name, text, isFile := strings.Cut(want, ": "); {
			case isFile && !strings.Contains(read(name), text):
				t.Errorf("%s is %q, without %q", name, read(name), text)
			case !isFile && !strings.Contains(log, want):
				t.Errorf("%q was not called, but\n%s", want, log)
			}
		}
	}
}

// printed is what a program prints.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	var log strings.Builder
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "MTOOLS_SKIP_CHECK=1")
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", args, err, &log)
	}
	return string(out)
}
