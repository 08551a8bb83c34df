package sources_test

import (
	"strings"
	"testing"
)

const (
	centosKey      = "etc/pki/rpm-gpg/RPM-GPG-KEY-centosofficial"
	streamPackages = "basesystem centos-release yum centos-stream-repos"
	centosPackages = "basesystem centos-release yum"
)

func TestCentOS(t *testing.T) {
	needUnpacking(t)
	m := newMirror(t)
	put := func(dir, name, sums string, data []byte) {
		m.put(dir+"/"+name, data)
		m.put(dir+"/"+sums, trusted().clear(m.bsdSums(dir, name)))
	}
	stream := "9-stream/BaseOS/x86_64/iso"
	put(stream, "CentOS-Stream-9-20261001.0-x86_64-boot.iso", "SHA256SUM", medium{contents: "9-Stream", system: map[string]string{centosKey: "a key\n"}}.iso(t))
	for _, other := range []string{"CentOS-Stream-9-20260901.0-x86_64-boot.iso", "CentOS-Stream-9-latest-x86_64-boot.iso", "CentOS-Stream-9-20261001.0-x86_64-dvd1.iso"} {
		m.put(stream+"/"+other, []byte("another medium"))
	}
	put("vault/8.5.2111/isos/x86_64", "CentOS-8.5.2111-x86_64-boot.iso", "CHECKSUM", medium{contents: "8.5.2111", system: map[string]string{centosKey: "a key\n"}}.iso(t))
	seven := medium{
		contents: "7 Minimal", live: true, lacks: []string{"usr/bin/dnf", "usr/bin/yum", "usr/bin/rpmkeys"},
		files: joined(packages("", "rpm-4.11.rpm", "yum-3.4.rpm", "rpm-libs-4.rpm"), map[string]string{"RPM-GPG-KEY-CentOS-7": "a key\n"}),
	}
	put("vault/7.9.2009/isos/x86_64", "CentOS-7-x86_64-Minimal-2009.iso", "sha256sum.txt.asc", seven.iso(t))
	put("7/isos/armhfp", "CentOS-Userland-7-armv7hl-RootFS-Minimal-2009-sda.raw.xz", "sha256sum.txt",
		medium{contents: "armhfp", system: map[string]string{"etc/pki/rpm-gpg/RPM-GPG-KEY-CentOS-7": "a key\n"}, lacks: []string{"usr/bin/dnf"}}.disk(t))

	calls7 := strings.Join([]string{
		"rpm --import file:///mnt/cdrom/RPM-GPG-KEY-CentOS-7",
		"rpm --checksig /mnt/cdrom/Packages/rpm-4.11.rpm", "rpm -ivh --nodeps /mnt/cdrom/Packages/rpm-4.11.rpm",
		"rpm --checksig /mnt/cdrom/Packages/yum-3.4.rpm", "rpm -ivh --nodeps /mnt/cdrom/Packages/yum-3.4.rpm",
		dnfCall("yum", "7", centosPackages),
	}, "\n")
	repos7 := aRepo("cdrom0", "file:///mnt/cdrom", "/mnt/cdrom/RPM-GPG-KEY-CentOS-7")
	for _, i := range []installation{
		{
			summary: "Stream", image: `release = "9-Stream"`, medium: "9-Stream", calls: dnfCall("dnf", "9-stream", streamPackages),
			repos: aRepo("appstream", "URL/9-stream/AppStream/x86_64/os", "/"+centosKey) + aRepo("baseos", "URL/9-stream/BaseOS/x86_64/os", "/"+centosKey),
		},
		{
			summary: "8 has ended", image: `release = "8"`, medium: "8.5.2111", said: "the release is taken from ", calls: dnfCall("dnf", "8", centosPackages),
			repos: aRepo("appstream", "VAULT/8.5.2111/AppStream/x86_64/os", "/"+centosKey) + aRepo("baseos", "VAULT/8.5.2111/BaseOS/x86_64/os", "/"+centosKey),
		},
		{
			summary: "8.5.2111 at the vault", image: `release = "8.5.2111"`, path: "/vault", medium: "8.5.2111", calls: dnfCall("dnf", "8", centosPackages),
			repos: aRepo("appstream", "URL/vault/8.5.2111/AppStream/x86_64/os", "/"+centosKey) + aRepo("baseos", "URL/vault/8.5.2111/BaseOS/x86_64/os", "/"+centosKey),
		},
		{summary: "7, with packages and no yum", image: `release = "7"`, args: `variant = "minimal"`, medium: "7 Minimal", calls: calls7, repos: repos7},
		{summary: "7.9", image: `release = "7.9"`, args: `variant = "minimal"`, medium: "7 Minimal", calls: calls7, repos: repos7},
		{summary: "7.9.2009", image: `release = "7.9.2009"`, args: `variant = "minimal"`, medium: "7 Minimal", calls: calls7, repos: repos7},
		{
			summary: "a disk", image: `release = "7", architecture = "x86_64", mapped_to = "armhfp"`, args: `variant = "minimal"`, medium: "armhfp", calls: dnfCall("yum", "7", centosPackages),
			repos: aRepo("base", "URL/7/os/armhfp", "/etc/pki/rpm-gpg/RPM-GPG-KEY-CentOS-7"),
		},
	} {
		i.source, i.args = "centos", strings.Trim(i.args+`, keys = OURS, vault = "VAULT"`, ", ")
		t.Run(i.summary, func(t *testing.T) { i.check(t, m) })
	}
	installation{source: "centos", image: `release = "9-Stream"`, args: "keys = OURS"}.refuse(t, func(*testing.T) *mirror { return m },
		refusal{"no release of CentOS", nil, image(`release = "9.1-Stream"`), []string{`centos: the release is "9.1-Stream", not such as 9-Stream`}},
		refusal{"a release that is not there", nil, image(`release = "10-Stream"`), []string{"it lists 7, 9-stream"}},
		refusal{"a variant that is not there", nil, settings(`keys = OURS, variant = "full"`), []string{"CentOS-Stream-9-20261001.0-x86_64-boot.iso"}},
		refusal{"a flipped bit", func(m *mirror) { m.flip(stream + "/CentOS-Stream-9-20261001.0-x86_64-boot.iso") }, nil, []string{"SHA-256", "CentOS-Stream-9-20261001.0-x86_64-boot.iso"}},
	)
}
