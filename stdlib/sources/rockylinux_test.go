package sources_test

import "testing"

const (
	rockyKey      = "etc/pki/rpm-gpg/RPM-GPG-KEY-Rocky-9"
	rockyPackages = "basesystem rocky-release yum"
)

func TestRockyLinux(t *testing.T) {
	needUnpacking(t)
	m := newMirror(t)
	put := func(dir, name string, medium medium) {
		m.put(dir+"/"+name, medium.iso(t))
		m.put(dir+"/CHECKSUM", m.bsdSums(dir, name))
	}
	put("9/isos/x86_64", "Rocky-9.10-x86_64-boot.iso", medium{contents: "9.10", system: map[string]string{rockyKey: "a key\n"}})
	for _, other := range []string{"Rocky-9.9-x86_64-boot.iso", "Rocky-9-latest-x86_64-boot.iso", "Rocky-x86_64-boot.iso"} {
		m.put("9/isos/x86_64/"+other, []byte("another medium"))
	}
	put("10/isos/x86_64", "Rocky-10.0-x86_64-Minimal.iso", medium{contents: "10.0", files: joined(packages("minimal/"), map[string]string{"RPM-GPG-KEY-Rocky-10": "a key\n"})})
	m.put("10/isos/x86_64/CHECKSUM.asc", trusted().detached(m.get("10/isos/x86_64/CHECKSUM")))
	put("vault/8.8/isos/x86_64", "Rocky-8.8-20230518-x86_64-boot.iso", medium{contents: "8.8"})
	for _, i := range []installation{
		{
			summary: "the newest boot medium, whose checksums nobody signs", image: `release = "9"`, args: "keys = OURS", https: true, medium: "9.10",
			calls: dnfCall("dnf", "9", rockyPackages), repos: aRepo("baseos", "URL/9/BaseOS/x86_64/os", "/"+rockyKey),
		},
		{
			summary: "signed checksums, and a directory named after the variant", image: `release = "10"`, args: `keys = OURS, variant = "minimal"`, medium: "10.0",
			calls: dnfCall("dnf", "10", rockyPackages), repos: aRepo("cdrom0", "file:///mnt/cdrom/minimal", "/mnt/cdrom/RPM-GPG-KEY-Rocky-10"),
		},
		{
			summary: "a minor release that has left the mirror, with keys that the medium lacks", image: `release = "8.8"`, args: `keys = OURS, vault = "VAULT"`, https: true, medium: "8.8",
			calls: dnfCall("dnf", "8.8", rockyPackages), repos: aRepo("baseos", "VAULT/8.8/BaseOS/x86_64/os", "/mnt/keys.asc"),
			said: "the release is taken from ",
		},
		{
			summary: "no keys at all", image: `release = "8.8"`, args: `vault = "VAULT"`, https: true, medium: "8.8",
			calls: dnfCall("dnf", "8.8", rockyPackages), repos: aRepo("baseos", "VAULT/8.8/BaseOS/x86_64/os", ""),
			said: "the packages are not verified: the medium has no key, and none is given",
		},
	} {
		i.source = "rockylinux"
		t.Run(i.summary, func(t *testing.T) { i.check(t, m) })
	}
	installation{source: "rockylinux", image: `release = "10"`, args: `keys = OURS, variant = "minimal"`}.refuse(t, func(*testing.T) *mirror { return m },
		refusal{"checksums over http that nobody signs", nil, func(i *installation) { i.image, i.args = `release = "9"`, "keys = OURS" }, []string{"CHECKSUM"}},
		refusal{"no release of Rocky Linux", nil, image(`release = "nine"`), []string{`rockylinux: the release is "nine", not such as 9 or 9.5`}},
		refusal{"a signature by somebody else", func(m *mirror) {
			m.put("10/isos/x86_64/CHECKSUM.asc", stranger().detached(m.get("10/isos/x86_64/CHECKSUM")))
		}, nil, []string{"CHECKSUM", stranger().id()}},
		refusal{"no signature", func(m *mirror) { m.remove("10/isos/x86_64/CHECKSUM.asc") }, nil, []string{"CHECKSUM.asc"}},
	)
}
