package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// needAll skips a test that takes so long that only make test-all runs it.
func needAll(t *testing.T) {
	t.Helper()
	if os.Getenv("IMAGEBUILDER_TEST_ALL") == "" {
		t.Skip("takes many minutes: make test-all runs it")
	}
}

// needDisks skips the test where no disk can be made, or none started.
func needDisks(t *testing.T) {
	t.Helper()
	for program, pkg := range map[string]string{
		"sgdisk": "gdisk", "mkfs.vfat": "dosfstools", "mcopy": "mtools", "qemu-img": "qemu-utils", "qemu-system-x86_64": "qemu-system-x86",
	} {
		need(t, program, pkg)
	}
}

// check is a script of the guest that looks around when all is up, and says on the console
// whether all is as it should be. If not the guest goes off, so that nobody waits for it. It
// says it again and again: the getty that takes the console hangs up on who writes there.
const check = `#!/bin/sh
bad=
[ "$(findmnt -no LABEL /)" = rootfs ] || bad="$bad no-rootfs"
ls /boot/efi/EFI/BOOT >/dev/null
[ "$(findmnt -rno LABEL /boot/efi | tail -n 1)" = UEFI ] || bad="$bad no-UEFI"
failed=$(systemctl list-units --failed --plain --no-legend | grep -v '^lxd-agent')
report=fine
[ -z "$bad$failed" ] || report="$bad $failed"
for i in 1 2 3 4 5 6 7 8 9 10; do
	echo "report: $report" >/dev/ttyS0
	sleep 1
done
[ "$report" = fine ] || poweroff
`

// unit starts the check.
const unit = `[Unit]
After=getty.target multi-user.target
[Service]
Type=oneshot
ExecStart=/usr/bin/report
[Install]
WantedBy=default.target
`

// reporting is the recipe debian with the check in its virtual machine.
func reporting(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"check": check, "unit": unit} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	recipe := output(t, nil, "imagebuilder", "recipes", "debian")
	recipe = strings.Replace(recipe, "    chroot_run(root, BOOT_LOADER", `    root.copy("unit", "/etc/systemd/system/report.service", mode = 0o644)
    root.copy("check", "/usr/bin/report", mode = 0o755)
    chroot_run(root, "#!/bin/sh\nsystemctl enable report", network = False)
    chroot_run(root, BOOT_LOADER`, 1)
	name := filepath.Join(dir, "vm.star")
	if err := os.WriteFile(name, []byte(recipe), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// bootLimit is long enough for a machine that is slow, busy and without KVM.
const bootLimit = "30m"

// A Debian virtual machine boots from its disk, with everything mounted and nothing failed,
// and LXD takes it for one.
func TestDebianVMBoots(t *testing.T) {
	archive, security := mirrors(t)
	needDisks(t)
	dir := t.TempDir()
	imagebuilder(t, "run", reporting(t), dir, "--cache", sharedCache(t), "-o", "type=vm", "-o", "release=bookworm",
		"-o", "mirror="+archive, "-o", "security_mirror="+security, "-o", "compression=zstd-1")
	disk := dir + "/disk.qcow2"
	t.Run("boot", func(t *testing.T) { // by Secure Boot, which boots nothing that is not signed
		imagebuilder(t, "boot", disk, "--expect", "report: fine", "--secure-boot", "--timeout", bootLimit)
	})
	t.Run("import", func(t *testing.T) {
		lxd := startLXD(t)
		lxd.lxc(t, "image", "import", dir+"/lxd.tar.zst", disk, "--alias", "vm")
		if list := lxd.lxc(t, "image", "list", "--format", "csv", "--columns", "t"); !strings.Contains(list, "VIRTUAL-MACHINE") {
			t.Errorf("LXD lists %s", list)
		}
	})
}

// The same on btrfs, where a boot loader finds its files in a subvolume.
func TestDebianVMOnBtrfsBoots(t *testing.T) {
	needAll(t)
	archive, security := mirrors(t)
	needDisks(t)
	need(t, "mkfs.btrfs", "btrfs-progs")
	dir := t.TempDir()
	imagebuilder(t, "run", reporting(t), dir, "--cache", sharedCache(t), "-o", "type=vm", "-o", "release=bookworm", "-o", "filesystem=btrfs",
		"-o", "mirror="+archive, "-o", "security_mirror="+security, "-o", "compression=zstd-1")
	imagebuilder(t, "boot", dir+"/disk.qcow2", "--expect", "report: fine", "--timeout", bootLimit)
}

// Definitions make virtual machines that boot, with the command line that they always had.
func TestDefinitionVMsBoot(t *testing.T) {
	needAll(t)
	definitions := realDefinitions(t)
	needDisks(t)
	for _, d := range definitions {
		t.Run(d.name, func(t *testing.T) {
			if d.name == "own" {
				t.Skip("it installs no boot loader")
			}
			out := t.TempDir()
			d.build(t, "build-lxd", out, "--vm", "--compression", "zstd-1")
			imagebuilder(t, "boot", out+"/disk.qcow2", "--timeout", bootLimit)
		})
	}
}
