package main

import (
	"os"
	"path/filepath"
	"testing"
)

// Every boot loader and its helpers that the definitions at hand call, by the way they call
// them, and on both file systems where they look at those. What each leaves is looked at where it was left; that
// it boots is for other tests to show.
func TestBootLoaders(t *testing.T) {
	t.Parallel() // a build keeps one processor busy
	archive, _ := mirrors(t)
	recipe := filepath.Join(t.TempDir(), "loaders.star")
	if err := os.WriteFile(recipe, []byte(bootLoaders), 0o644); err != nil {
		t.Fatal(err)
	}
	imagebuilder(t, "run", recipe, t.TempDir(), "--cache", sharedCache(t), "-o", "mirror="+archive)
}

const bootLoaders = `
load("@stdlib//sources/debian.star", "debootstrap")

mirror = option("mirror", "")

# Of grub both what is signed and what it makes images of. The package dracut itself would
# take the place of initramfs-tools.
PACKAGES = "dracut-core initramfs-tools linux-image-cloud-amd64 grub-efi-amd64-signed shim-signed grub-efi-amd64-bin grub2-common systemd-boot".split()

# What is done on a disk, after packages were installed where there was none.
LOADERS = {
    "grub, signed": """
mkdir -p /boot/grub
update-grub
grub-install --uefi-secure-boot --target=x86_64-efi --no-nvram --removable
grub-install --uefi-secure-boot --target=x86_64-efi --no-nvram
update-grub
sed -i "s#root=[^ ]*#root=$LXD_IMAGEBUILDER_ROOT_UUID#g" /boot/grub/grub.cfg
grep -q "root=UUID=$UUID " /boot/grub/grub.cfg
grep -q "search.*--fs-uuid.* $UUID" /boot/grub/grub.cfg
for f in BOOT/BOOTX64.EFI BOOT/grubx64.efi debian/shimx64.efi debian/grubx64.efi; do test -s /boot/efi/EFI/$f; done
grep -q "^search.fs_uuid $UUID root" /boot/efi/EFI/BOOT/grub.cfg
grep -q "^search.fs_uuid $UUID root" /boot/efi/EFI/debian/grub.cfg
""",
    # As where a distribution signs nothing. The image must find the partitions itself.
    "grub, made here": """
grub-install --no-uefi-secure-boot --target=x86_64-efi --efi-directory=/boot/efi --no-nvram --removable
grub-install --no-uefi-secure-boot --target=x86_64-efi --no-nvram
for f in BOOT/BOOTX64.EFI debian/grubx64.efi; do
    grep -q part_gpt /boot/efi/EFI/$f
    grep -q "search.fs_uuid $UUID root" /boot/efi/EFI/$f
done
grub-mkconfig -o /boot/grub/grub.cfg
grep -q "root=UUID=$UUID " /boot/grub/grub.cfg
""",
    # A script may have it that the machine was started by EFI.
    "grub, with firmware feigned": """
mount -t tmpfs tmpfs /sys/firmware
mkdir -p /sys/firmware/efi/efivars
grub-install --no-nvram --removable
umount /sys/firmware
test -s /boot/efi/EFI/BOOT/BOOTX64.EFI
""",
    "systemd-boot": """
rm -Rf /boot/efi/* || true
systemd-machine-id-setup
bootctl install --no-variables --esp-path=/boot/efi/
mkdir -p /etc/kernel
echo "root=$LXD_IMAGEBUILDER_ROOT_UUID" >/etc/kernel/cmdline
kernel-install add "$KERNEL" "/boot/vmlinuz-$KERNEL"
grep -qr "^options .*root=UUID=$UUID" /boot/efi/loader/entries
test -s /boot/efi/EFI/BOOT/BOOTX64.EFI
""",
    "what asks": """
test "$(findmnt -no SOURCE,UUID /)" = "/dev/sda2 $UUID"
test "$(findmnt -no SOURCE /boot/efi)" = /dev/sda1
test "$(blkid -o value -s TYPE /dev/sda2)" = $FS
test "$(blkid -o value -s LABEL /dev/sda1)" = UEFI
test "$(grub-probe -t fs_uuid /)" = $UUID
test "$(grub-probe -t fs /boot/efi)" = fat
test -e /dev/disk/by-uuid/$UUID
test -e /dev/disk/by-label/rootfs
test "$DISTROBUILDER_ROOT_UUID" = "UUID=$UUID"
mountpoint /boot/efi
umount /boot/efi
""",
    # As some distributions have it, for this very machine, whose root is no overlay.
    "dracut": """
mkdir -p /etc/dracut.conf.d
echo 'hostonly="yes"' >/etc/dracut.conf.d/host.conf
dracut --force --regenerate-all
lsinitrd -f etc/cmdline.d/95root-dev.conf "/boot/initrd.img-$KERNEL" >/root-dev
grep -q "rootfstype=$FS" /root-dev
if grep overlay /root-dev; then exit 1; fi
""",
    "initramfs-tools": """
update-initramfs -u -k all
lsinitramfs "/boot/initrd.img-$KERNEL" | grep -q virtio_scsi
""",
}

PROLOGUE = """#!/bin/sh
set -eux
UUID=%s
FS=%s
KERNEL=$(ls /lib/modules)
"""

def main():
    root = debootstrap(image("debian", "bookworm"), mirror, variant = "minbase", include = ["systemd", "systemd-sysv", "udev", "kmod", "dosfstools"], snapshot = True)
    install(root, PACKAGES, clean = True)
    root.write("/etc/default/grub", 'GRUB_DISTRIBUTOR="Debian"\n')
    for filesystem, loaders in {"ext4": LOADERS.keys(), "btrfs": ["grub, signed", "grub, made here", "what asks"]}.items():
        on = disk(root, filesystem = filesystem)
        generate(on, "fstab")
        for name in loaders:
            chroot_run(fork(on), PROLOGUE % (on.disk.uuid, filesystem) + LOADERS[name], network = False)
`
