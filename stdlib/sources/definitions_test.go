package sources_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The real definitions, built as a user does from mirrors of this test. Their package managers,
// and other programs that their actions call, are stand-ins in the root file systems that
// write down how they were called.

// A definition is one file, for all releases and variants that it names.
type definition struct {
	file     string // of ../shared/definitions, without extension
	path     string // of the mirror that source.url is
	fill     func(t *testing.T, m *mirror)
	releases []string
	variants []string
	keys     int // how many keys the definition has

	// host are programs of the machine that are stand-ins, too.
	host func(t *testing.T) map[string]string

	// set returns what else is set for a release and a variant; nil: nothing.
	set func(release, variant, url string) []string

	// want is what was called for every image, and by "RELEASE", "VARIANT" or "RELEASE VARIANT"
	// what was for these, too.
	want map[string][]string

	// onDisk is what else is found in what was called for virtual machines, and "FILE: TEXT" for
	// what a file of the disk holds; nil: it names no such target. Their disks are made for each
	// release with the first variant, and for the last with all.
	onDisk map[string][]string
}

// record is the file in which stand-ins write down how they were called.
const record = "var/log/standin"

// standIns are programs that do nothing but write down how they were called.
func standIns(names ...string) map[string]string {
	files := map[string]string{record: ""}
	for _, name := range names {
		if !strings.Contains(name, "/") {
			name = "usr/bin/" + name
		}
		files[name] = fmt.Sprintf("#!/bin/sh\necho %s \"$@\" >>/%s\n", name[strings.LastIndex(name, "/")+1:], record)
	}
	return files
}

// with returns files and others.
func with(files map[string]string, others map[string]string) map[string]string {
	files = maps.Clone(files)
	maps.Copy(files, others)
	return files
}

// definitions are in the order of their names.
var definitions = []definition{
	{
		file:     "almalinux",
		path:     "almalinux",
		keys:     2,
		releases: []string{"8", "9"},
		variants: []string{"default", "cloud"},
		fill:     media("almalinux/", "AlmaLinux-%s.5-x86_64-minimal.iso", "RPM-GPG-KEY-AlmaLinux"),
		want: map[string][]string{
			"":          {"yum -y makecache", "yum -y update", "yum -y clean all", "localedef -i en_US -f UTF-8 en_US.UTF-8"},
			"8 default": {"systemctl enable network"},
			"9 default": {"systemctl enable NetworkManager.service"},
		},
		onDisk: map[string][]string{
			"":  {"systemd-machine-id-setup", "shim kernel grub2-efi-x64\n", "dracut --kver 6.1 -f"},
			"8": {"grub2-mkconfig -o /etc/grub2-efi.cfg", "etc/grub2-efi.cfg: root=UUID="},
			"9": {"grub2-mkconfig -o /boot/efi/EFI/almalinux/grub.cfg", "boot/efi/EFI/almalinux/grub.cfg: root=UUID="},
		},
	},
	{
		file:     "alpine",
		path:     "alpine/",
		keys:     1,
		releases: []string{"3.21", "edge"},
		variants: []string{"default", "cloud"},
		fill: func(t *testing.T, m *mirror) {
			a := archive{id: "alpine", shell: true, files: with(with(loaders(), standIns("sbin/apk", "setup-cloud-init")), map[string]string{
				"etc/apk/repositories":        m.https + "/alpine/v3.21/main\n",
				"etc/init.d/localmount":       "#!/sbin/openrc-run\nkeyword -lxc\n",
				"etc/rc.conf":                 "#rc_sys=\"\"\n",
				"etc/inittab":                 "::sysinit:/sbin/openrc sysinit\n",
				"etc/runlevels/boot/.keep":    "",
				"etc/runlevels/default/.keep": "",
				"etc/runlevels/sysinit/.keep": "",
				"etc/cloud/cloud.cfg.d/.keep": "",
				"sbin/init":                   "-> /bin/busybox",
			})}
			alpineFiles(t, a, "3.21.9", "3.21.10")(m, ours())
			for _, release := range []string{"v3.21", "edge"} {
				m.put("alpine/"+release+"/main/x86_64/APKINDEX.tar.gz", []byte(release))
			}
		},
		want: map[string][]string{
			"":        {"apk --no-cache update", "apk --no-cache upgrade"},
			"default": {"apk --no-cache add alpine-base logrotate doas"},
			"edge":    {"apk upgrade --update-cache --available"},
			"cloud":   {"apk --no-cache add alpine-base logrotate doas cloud-init e2fsprogs-extra openssh", "setup-cloud-init"},
		},
		onDisk: map[string][]string{"": {"acpi gcc grub-efi linux-virt udev\n", "boot/grub/grub.cfg: root=UUID=", "boot/efi/EFI/BOOT/BOOTX64.EFI: loader",
			"grub-install --modules=part_gpt --target=x86_64-efi --no-nvram --removable"}},
	},
	{
		file:     "archlinux",
		path:     "iso/",
		keys:     2,
		releases: []string{"current"},
		variants: []string{"default", "cloud", "desktop-gnome"},
		fill: func(t *testing.T, m *mirror) {
			a := archive{id: "arch", prefix: "root.x86_64/", shell: true, files: with(with(loaders(), standIns("pacman", "pacman-key", "systemctl", "setcap")), map[string]string{
				"etc/pacman.conf": "[options]\nArchitecture = auto\n[community]\nInclude = x\n",
				"etc/machine-id":  "",
				"etc/resolv.conf": "",
			})}
			m.put(archFile, a.packed(t, "zst"))
			m.put(archFile+".sig", trusted().binary(m.get(archFile)))
			m.put("iso/2026.10.01/sha256sums.txt", sums(" ", m, archFile))
		},
		want: map[string][]string{
			"": {"pacman-key --init", "pacman-key --populate archlinux", "pacman -Sy --needed --noconfirm archlinux-keyring",
				"pacman --noconfirm -Syy", "pacman --noconfirm -Su", "pacman --noconfirm -Sc", "systemctl enable systemd-networkd"},
			"cloud": {"systemctl enable cloud-init-local.service cloud-init-main.service cloud-config.service cloud-final.service"},
		},
		onDisk: map[string][]string{
			"": {"mkinitcpio -P", "boot/grub/grub.cfg: root=UUID=", "boot/efi/EFI/BOOT/BOOTX64.EFI: loader", "etc/mkinitcpio.conf: virtio_scsi",
				"grub-install --modules=part_gpt --target=x86_64-efi --efi-directory=/boot/efi --no-nvram --removable"},
			"desktop-gnome": {"sudo -u archlinux -- systemctl --user enable firstboot.service"},
		},
	},
	{
		file:     "busybox",
		path:     "downloads",
		releases: []string{"1.36.1"},
		variants: []string{"default"},
		fill: func(t *testing.T, m *mirror) {
			for _, name := range []string{busyboxSource, busyboxSource + ".sha256"} {
				m.put("downloads/"+name, busyboxMirror(t).get(name))
			}
		},
	},
	{
		file:     "debian",
		path:     "debian",
		keys:     6,
		releases: []string{"bullseye", "bookworm", "trixie", "forky", "sid"},
		variants: []string{"default", "cloud"},
		fill:     archives("debian", "bullseye", "bookworm", "trixie", "forky", "sid"),
		host:     bootstraps,
		set:      repositories("main"),
		want: map[string][]string{
			"":                 {"systemctl enable systemd-networkd.service", "locale-gen en_US.UTF-8 UTF-8", "update-locale LANG=en_US.UTF-8"},
			"bullseye":         {"bootstrap --variant=minbase --keyring=/tmp/files/keyring.gpg"},
			"trixie":           {"bootstrap --variant=minbase --include=dbus,systemd-resolved --keyring=/tmp/files/keyring.gpg"},
			"bullseye default": {"systemctl enable systemd-resolved.service"},
			"bullseye cloud":   {"systemctl disable systemd-resolved.service"},
		},
		onDisk: map[string][]string{
			"": {"update-grub", "boot/grub/grub.cfg: root=UUID=", "boot/efi/EFI/BOOT/BOOTX64.EFI: loader",
				"grub-install --modules=part_gpt --uefi-secure-boot --target=x86_64-efi --no-nvram --removable"},
			"sid": {"dracut --force --regenerate-all"},
		},
	},
	{
		file:     "example-ubuntu",
		path:     "ubuntu",
		keys:     2,
		releases: []string{"xenial", "bionic", "disco", "eoan", "focal", "groovy", "hirsute", "impish", "jammy", "noble"},
		variants: []string{"default", "cloud"},
		fill:     archives("ubuntu", "xenial", "bionic", "disco", "eoan", "focal", "groovy", "hirsute", "impish", "jammy", "noble"),
		host:     bootstraps,
		set:      repositories("main universe"),
		want: map[string][]string{
			"":        {"locale-gen en_US.UTF-8"},
			"default": {"useradd --create-home -s /bin/bash -G sudo -U ubuntu"},
			"jammy":   {"systemctl enable systemd-networkd"},
		},
		onDisk: map[string][]string{"": {"update-grub", "boot/grub/grub.cfg: root=UUID=", "boot/efi/EFI/BOOT/BOOTX64.EFI: loader"}},
	},
	{
		file:     "fedora",
		path:     "koji",
		releases: []string{"42", "Rawhide"},
		variants: []string{"default", "cloud"},
		fill: func(t *testing.T, m *mirror) {
			a := archive{id: "fedora", shell: true, files: with(with(loaders(), standIns("dnf", "systemctl")), map[string]string{
				"etc/yum.repos.d/fedora.repo": "[fedora]\nbaseurl=" + m.https + "/repo\ngpgkey=file:///etc/pki/rpm-gpg/x\n",
				"etc/dnf/dnf.conf":            "[main]\n",
				"etc/skel/.bashrc":            "",
				"etc/resolv.conf":             "",
				"root/.keep":                  "",
				"var/lib/dbus/.keep":          "",
			})}
			for _, release := range []string{"42", "Rawhide"} {
				dir := "koji/packages/Fedora-Container-Base-Generic/" + release + "/20261020.n.10/images/"
				m.put(dir+"Fedora-Container-Base-Generic-"+release+"-20261020.n.10.x86_64.oci.tar.xz", ociArchive(t, imageOfLayers("amd64", layerOfTar(a.tar(t)))))
			}
		},
		want: map[string][]string{
			"":      {"dnf -y upgrade --nobest", "systemctl enable systemd-networkd"},
			"cloud": {"systemctl enable cloud-init"},
		},
		onDisk: map[string][]string{"": {"grub2-mkconfig -o /boot/efi/EFI/fedora/grub.cfg", "boot/efi/EFI/fedora/grub.cfg: root=UUID=",
			"dracut --kver 6.1 -f", "boot/loader/entries/6.1.conf: linux /boot/vmlinuz-6.1"}},
	},
	{
		file:     "gentoo",
		path:     "gentoo/",
		keys:     1,
		releases: []string{"current"},
		variants: []string{"openrc", "systemd", "cloud"},
		set: func(_, variant, _ string) []string {
			if variant == "cloud" {
				variant = "openrc"
			}
			return []string{"-o", "source.variant=" + variant}
		},
		fill: func(t *testing.T, m *mirror) {
			a := archive{id: "gentoo", shell: true, files: with(with(loaders(), standIns("emerge", "getuto", "rc-update", "systemctl")), map[string]string{
				"etc/inittab":           "si::sysinit:/sbin/openrc sysinit\nc1:12345:respawn\n#x1:12345\n",
				"etc/init.d/net.lo":     "#!/sbin/openrc-run\n",
				"etc/portage/make.conf": "",
				"etc/resolv.conf":       "",
			})}
			for variant, init := range map[string]string{"openrc": "openrc-init", "systemd": "/lib/systemd/systemd"} {
				a.files["sbin/init"] = "-> " + init
				stage := a.packed(t, "xz")
				file := strings.ReplaceAll(gentooStage, "openrc", variant)
				m.put(file, stage)
				m.put(file+".DIGESTS", trusted().clear(digests(file[strings.LastIndex(file, "/")+1:], stage)))
			}
			m.put(gentooTree, archive{id: "tree", prefix: "portage/"}.packed(t, "xz"))
			m.put(gentooTree+".gpgsig", trusted().binary(m.get(gentooTree)))
		},
		want: map[string][]string{
			"":        {"getuto", "locale-gen", "rc-update add net.eth0 default", "emerge --depclean"},
			"openrc":  {"emerge --autounmask-continue net-misc/dhcpcd app-admin/sudo"},
			"systemd": {"systemctl enable systemd-resolved"},
			"cloud":   {"emerge --autounmask-continue net-misc/dhcpcd app-admin/sudo cloud-init", "rc-update add cloud-final default"},
		},
		onDisk: map[string][]string{
			"openrc":  {"emerge gentoo-kernel-bin", "boot/grub/grub.cfg: root=UUID=", "boot/efi/EFI/BOOT/BOOTX64.EFI: loader", "rc-update add net.enp5s0"},
			"systemd": {"bootctl install --no-variables --esp-path=/boot/efi/", "emerge gentoo-kernel-bin", "etc/kernel/cmdline: root=UUID="},
		},
	},
	{
		file:     "opensuse",
		path:     "download",
		keys:     1,
		releases: []string{"15.6", "16.0", "tumbleweed"},
		variants: []string{"default", "cloud", "desktop", "desktop-kde"},
		fill: func(t *testing.T, m *mirror) {
			a := archive{id: "opensuse", shell: true, files: with(with(loaders(), standIns("systemctl", "zypper")), map[string]string{
				"etc/resolv.conf": "",
				"usr/lib/python3/site-packages/cloudinit/net/sysconfig.py": "'opensuse'\n",
			})}
			data := a.packed(t, "xz")
			for _, image := range []string{
				"distribution/leap/15.6/appliances/opensuse-leap-image.x86_64-lxc.tar.xz",
				"distribution/leap/16.0/appliances/opensuse-leap-image.x86_64-lxc-16.0-Build1.10.tar.xz",
				"repositories/Virtualization:/containers:/images:/openSUSE-Tumbleweed/container/opensuse-tumbleweed-image.x86_64-lxc.tar.xz",
			} {
				m.put("download/"+image, data)
				m.put("download/"+image+".sha256", trusted().clear([]byte(sha256Of(data)+"  "+image[strings.LastIndex(image, "/")+1:]+"\n")))
			}
		},
		want: map[string][]string{
			"": {"zypper --non-interactive --gpg-auto-import-keys refresh", "zypper --non-interactive --gpg-auto-import-keys update",
				"zypper --non-interactive --gpg-auto-import-keys clean -a", "systemctl mask systemd-firstboot.service"},
			"cloud": {"systemctl enable cloud-init.service cloud-config.service cloud-final.service"},
			"15.6 default": {"zypper --non-interactive --gpg-auto-import-keys install --allow-downgrade --replacefiles apparmor-abstractions apparmor-parser dbus-1 " +
				"elfutils file glib2-tools gzip hostname iproute2 iputils pigz rsync sudo terminfo tar which xz"},
		},
		onDisk: map[string][]string{"": {"dracut --regenerate-all --force", "boot/grub2/grub.cfg: root=UUID=", "boot/efi/EFI/BOOT/BOOTX64.EFI: loader",
			"shim-install --no-nvram --removable"}},
	},
	{
		file:     "openwrt",
		keys:     2,
		releases: []string{"24.10", "snapshot"},
		variants: []string{"default"},
		fill: func(t *testing.T, m *mirror) {
			a := archive{id: "openwrt", shell: true, files: with(standIns("apk"), map[string]string{
				"etc/init.d/dnsmasq":  "#!/bin/sh\nprocd_add_jail dnsmasq\n",
				"etc/inittab":         "",
				"etc/rc.d/S98sysntpd": "",
			})}
			for dir, name := range map[string]string{openwrtDir: "openwrt-24.10.10-x86-64-rootfs.tar.gz", "snapshots/targets/x86/64/": "openwrt-x86-64-rootfs.tar.gz"} {
				m.put(dir+name, a.packed(t, "gz"))
				m.put(dir+"sha256sums", sums("*", m, dir+name))
				m.put(dir+"sha256sums.asc", trusted().detached(m.get(dir+"sha256sums")))
			}
		},
		want: map[string][]string{"": {"apk --no-cache update", "apk --no-cache add sudo"}},
	},
	{
		file:     "rockylinux",
		path:     "rocky/",
		keys:     2,
		releases: []string{"8", "9"},
		variants: []string{"default", "cloud"},
		fill:     media("rocky/", "Rocky-%s.5-x86_64-minimal.iso", "RPM-GPG-KEY-Rocky"),
		want: map[string][]string{
			"":        {"yum -y makecache", "yum -y update", "yum -y clean all", "localedef -i en_US -f UTF-8 en_US.UTF-8"},
			"default": {"systemctl enable NetworkManager.service"},
		},
		onDisk: map[string][]string{
			"":  {"systemd-machine-id-setup", "dracut --kver 6.1 -f"},
			"8": {"etc/grub2-efi.cfg: root=UUID="},
			"9": {"boot/efi/EFI/rocky/grub.cfg: root=UUID="},
		},
	},
	{
		file:     "slackware",
		path:     "slackware",
		releases: []string{"15.0", "current"},
		variants: []string{"default"},
		fill: func(t *testing.T, m *mirror) {
			shell, err := os.ReadFile("/bin/busybox")
			if err != nil {
				t.Skipf("needs the Debian package busybox-static: %v", err)
			}
			packages := maps.Clone(slackwarePackages)
			packages["a/bash-5.1.016-x86_64-1.txz"] = pkg{
				files:  map[string]string{"bin/ash": string(shell), "bin/bash": "#!/bin/sh\nexec /bin/sh \"$@\"\n"},
				script: "( cd bin ; ln -sf ash sh )\n",
			}
			packages["ap/slackpkg-15.0.10-noarch-1.txz"] = pkg{files: with(standIns("usr/sbin/slackpkg", "usr/sbin/update-ca-certificates"),
				map[string]string{"etc/slackpkg/mirrors": "", "var/lib/slackpkg/.keep": ""})}
			for _, release := range []string{"15.0", "current"} {
				m.putPackages(t, "slackware/slackware64-"+release+"/slackware64", packages)
				m.put("slackware/slackware64-"+release+"/ChangeLog.txt", []byte("today\n"))
			}
		},
		want: map[string][]string{"": {"update-ca-certificates -f", "slackpkg update gpg",
			"slackpkg -batch=on -default_answer=y update", "slackpkg -batch=on -default_answer=y install sudo"}},
	},
	{
		file:     "ubuntu",
		path:     "ubuntu",
		keys:     2,
		releases: []string{"jammy", "noble", "resolute"},
		variants: []string{"default", "desktop"},
		fill:     archives("ubuntu", "jammy", "noble", "resolute"),
		host:     bootstraps,
		set:      repositories("main universe"),
		want: map[string][]string{
			"":        {"systemctl mask ua-auto-attach", "locale-gen en_US.UTF-8"},
			"default": {"useradd --create-home -s /bin/bash -G sudo -U ubuntu"},
			"jammy":   {"systemctl enable systemd-networkd"},
		},
		onDisk: map[string][]string{"": {"update-grub", "boot/grub/grub.cfg: root=UUID=", "boot/efi/EFI/BOOT/BOOTX64.EFI: loader"}},
	},
	{
		file:     "voidlinux",
		path:     "live/current/",
		keys:     1,
		releases: []string{"current"},
		variants: []string{"default", "musl"},
		set: func(_, variant, _ string) []string {
			if variant == "musl" {
				return []string{"-o", "source.variant=musl"}
			}
			return nil
		},
		fill: func(t *testing.T, m *mirror) {
			files := with(standIns("update-ca-certificates", "xbps-install", "xbps-remove"), map[string]string{
				"usr/share/xbps.d/.keep":           "",
				"etc/xbps.d/.keep":                 "",
				"etc/sv/dhclient/run":              "#!/bin/sh\nexec dhclient \n",
				"etc/runit/runsvdir/default/.keep": "",
			})
			for i := 1; i <= 6; i++ {
				files[fmt.Sprintf("etc/runit/runsvdir/default/agetty-tty%d", i)] = ""
				files[fmt.Sprintf("etc/sv/agetty-tty%d/run", i)] = "#!/bin/sh\n"
			}
			text := ""
			for _, name := range []string{"void-x86_64-ROOTFS-20261001.tar.xz", "void-x86_64-musl-ROOTFS-20261001.tar.xz"} {
				data := archive{id: name, shell: true, files: files}.packed(t, "xz")
				m.put("live/current/"+name, data)
				text += fmt.Sprintf("SHA256 (%s) = %s\n", name, sha256Of(data))
			}
			m.put("live/current/sha256sum.txt", []byte(text))
			m.put("live/current/sha256sum.sig", trustedSignify().minisigned([]byte(text)))
		},
		want: map[string][]string{"": {"update-ca-certificates", "xbps-install -y -S", "xbps-install --sync", "xbps-install --yes --update",
			"xbps-install --yes cronie dhclient socklog-void sudo", "xbps-remove --yes --clean-cache"}},
	},
}

const definitionsDir = "../../../shared/definitions"

func TestDefinitionsBuild(t *testing.T) {
	if _, err := os.Stat(definitionsDir); err != nil {
		t.Skipf("without the real definitions: %v", err)
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: mounts and owners")
	}
	for _, d := range definitions {
		t.Run(d.file, func(t *testing.T) {
			m := newMirror(t)
			d.fill(t, m)
			if d.host != nil {
				t.Setenv("PATH", visible(t, d.host(t))+":"+os.Getenv("PATH"))
			}
			cache := t.TempDir()
			for _, release := range d.releases {
				for _, variant := range d.variants {
					t.Run(release+" "+variant, func(t *testing.T) { d.build(t, m, cache, release, variant) })
				}
			}
		})
	}
}

// build makes all images of a release and a variant of which there can be any now.
func (d definition) build(t *testing.T, m *mirror, cache, release, variant string) {
	file := filepath.Join(definitionsDir, d.file+".yaml")
	set := []string{"-o", "image.release=" + release, "-o", "image.variant=" + variant, "-o", "image.architecture=x86_64",
		"-o", "source.url=" + m.https + "/" + d.path, "-o", "image.serial=1"}
	for i := range d.keys {
		set = append(set, "-o", fmt.Sprintf("source.keys.%d=%s", i, trusted().key()))
	}
	if d.set != nil {
		set = append(set, d.set(release, variant, m.https+"/"+d.path)...)
	}
	recipe := filepath.Join(t.TempDir(), "recipe.star")
	must(os.WriteFile(recipe, []byte(imagebuilder(t, "convert", append([]string{file}, set...)...)), 0o644))
	for _, target := range []string{"lxd", "vm"} {
		args := append([]string{"--json", "-o", "target=" + target}, set...)
		if a, b := planned(t, file, args), planned(t, recipe, args); a != b {
			t.Errorf("for %s the definition plans\n%s, its recipe\n%s", target, a, b)
		}
	}

	out := t.TempDir()
	imagebuilder(t, "build-lxd", append([]string{"--cache", cache, "--compression", "gzip-1", file, out}, set...)...)
	image, err := exec.Command("unsquashfs", "-cat", filepath.Join(out, "rootfs.squashfs"), record).CombinedOutput()
	if err != nil && len(d.want) > 0 {
		t.Fatalf("cannot look into the image: %v\n%s", err, image)
	}
	called := strings.Split(string(image), "\n")
	kinds := []string{"", release, variant, release + " " + variant}
	for _, kind := range kinds {
		for _, want := range d.want[kind] {
			if !slices.Contains(called, want) {
				t.Errorf("%q was not called, but\n%s", want, image)
			}
		}
	}
	imagebuilder(t, "build-lxc", append([]string{"--cache", cache, "--compression", "gzip-1", file, out}, set...)...)
	for _, name := range []string{"lxd.tar.gz", "meta.tar.xz", "rootfs.tar.gz"} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
	last := release == d.releases[len(d.releases)-1]
	if d.onDisk != nil && (last && variant == d.variants[0] || (last || variant == d.variants[0]) && os.Getenv("IMAGEBUILDER_TEST_ALL") != "") {
		d.buildDisk(t, cache, file, set, kinds)
	}
}

// visible returns a directory with the files in which programs of the sandbox see them.
func visible(t *testing.T, files map[string]string) string {
	dir, err := os.MkdirTemp("/run", "imagebuilder") // /tmp and /var/tmp are their own
	must(err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	for name, content := range files {
		must(os.WriteFile(filepath.Join(dir, name), []byte(content), 0o755))
	}
	return dir
}

// bootstraps are debootstrap and mmdebstrap: both make a root file system whose programs are
// stand-ins. Its shell is none of BusyBox, which would take its own find, that knows too little.
func bootstraps(t *testing.T) map[string]string {
	files := with(with(loaders(), standIns("apt-get", "dpkg", "getent", "groupadd", "systemctl", "update-locale")),
		map[string]string{"bin/find": "#!/bin/sh\n", "etc/passwd-": "", "etc/apt/sources.list": "", "mnt/.keep": "", "var/lib/dpkg/.keep": ""})
	libraries, err := exec.Command("ldd", "/bin/dash").Output()
	if err != nil {
		t.Skipf("cannot make a shell: %v", err)
	}
	programs := []string{"/bin/busybox"}
	for _, word := range strings.Fields(string(libraries)) {
		if strings.HasPrefix(word, "/") {
			programs = append(programs, word)
		}
	}
	for _, file := range append(programs, "/bin/dash") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Skipf("cannot make a shell: %v", err)
		}
		files[strings.TrimPrefix(strings.Replace(file, "dash", "sh", 1), "/")] = string(data)
	}
	const script = `#!/bin/sh
set -e
cd /tmp/rootfs
tar -xf "${0%/*}/root.tar"
chmod 755 bin/sh PROGRAMS
for applet in $(bin/busybox --list); do [ -e bin/$applet ] || [ -e usr/bin/$applet ] || ln -s busybox bin/$applet; done
for word in "$@"; do
	case $word in
	--variant=*|--include=*|--keyring=*) said="$said $word" ;;
	esac
done
echo bootstrap$said >>RECORD
`
	tool := strings.NewReplacer("RECORD", record, "PROGRAMS", strings.ReplaceAll(strings.Join(programs, " "), " /", " ")[1:]).Replace(script)
	return map[string]string{"root.tar": string(archive{id: "debian", files: files}.tar(t)), "debootstrap": tool, "mmdebstrap": tool}
}

// media puts media of releases onto a mirror, whose dnf makes a root file system with programs
// that are stand-ins.
func media(dir, name, key string) func(*testing.T, *mirror) {
	return func(t *testing.T, m *mirror) {
		needUnpacking(t)
		shell, err := os.ReadFile("/bin/busybox")
		if err != nil {
			t.Skipf("needs the Debian package busybox-static: %v", err)
		}
		system := map[string]string{"standin/bin/sh": string(shell), "standin/etc/pam.d/login": "session required pam_loginuid.so\n"}
		for file, content := range with(loaders(), standIns("localedef", "systemctl", "yum")) {
			system["standin/"+file] = content
		}
		const dnf = `#!/bin/sh
set -e
for word in "$@"; do
	case $word in
	--installroot=*) cp -a /standin/. "${word#*=}" ;;
	esac
done
`
		for _, program := range []string{"dnf", "yum"} {
			system["usr/bin/"+program] = dnf
		}
		for _, release := range []string{"8", "9"} {
			there, file := dir+release+"/isos/x86_64", fmt.Sprintf(name, release)
			m.put(there+"/"+file, medium{system: system, files: joined(packages(""), map[string]string{key: "a key\n"})}.iso(t))
			list := m.bsdSums(there, file)
			m.put(there+"/CHECKSUM", trusted().clear(list))
			if strings.HasPrefix(file, "Rocky") { // which has the signature beside it
				m.put(there+"/CHECKSUM", list)
				m.put(there+"/CHECKSUM.asc", trusted().detached(list))
			}
		}
	}
}

// archives puts what tells that an archive has changed onto a mirror.
func archives(path string, suites ...string) func(*testing.T, *mirror) {
	return func(_ *testing.T, m *mirror) {
		for _, suite := range suites {
			m.put(path+"/dists/"+suite+"/InRelease", []byte(suite))
		}
	}
}

// repositories names the repository that is on the mirror.
func repositories(components string) func(release, variant, url string) []string {
	return func(release, _, url string) []string {
		return []string{"-o", "packages.repositories.0.url=deb " + url + " " + release + " " + components}
	}
}

// place is where a step of a plan stands in its file.
var place = regexp.MustCompile(`(?m)^\s*"at":.*\n`)

func planned(t *testing.T, file string, args []string) string {
	t.Helper()
	return place.ReplaceAllString(imagebuilder(t, "plan", append([]string{file}, args...)...), "")
}

// program builds the tool once for all tests.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "imagebuilder")
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "imagebuilder")
	out, err := exec.Command("go", "build", "-o", name, "imagebuilder/cmd/imagebuilder").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("cannot build the tool: %w\n%s", err, out)
	}
	return name, err
})

// imagebuilder runs the tool and returns what it prints.
func imagebuilder(t *testing.T, verb string, args ...string) string {
	t.Helper()
	name, err := program()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd := exec.Command(name, append([]string{verb}, args...)...)
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", verb, err, &log)
	}
	return string(out)
}
