package sources_test

import (
	"strings"
	"testing"
)

const almaKey = "etc/pki/rpm-gpg/RPM-GPG-KEY-AlmaLinux-9"

// almaMirror has the releases that the tests ask for.
func almaMirror(t *testing.T) *mirror {
	m := newMirror(t)
	boot := func(name string) medium {
		return medium{contents: name, system: map[string]string{almaKey: "a key\n"}}
	}
	put := func(dir string, media map[string]medium, others ...string) {
		var names []string
		for name, medium := range media {
			m.put(dir+"/"+name, medium.iso(t))
			names = append(names, name)
		}
		for _, name := range others {
			m.put(dir+"/"+name, []byte("another medium"))
			names = append(names, name)
		}
		m.put(dir+"/CHECKSUM", trusted().clear(m.bsdSums(dir, names...)))
	}
	put("9/isos/x86_64", map[string]medium{"AlmaLinux-9.10-x86_64-boot.iso": boot("9.10")},
		"AlmaLinux-9.4-x86_64-boot.iso", "AlmaLinux-9.9-x86_64-boot.iso", "AlmaLinux-9.10-x86_64-minimal.iso", "AlmaLinux-9-latest-x86_64-boot.iso",
		"AlmaLinux-9.11-beta-1-x86_64-boot.iso")
	put("10/isos/x86_64_v2", map[string]medium{"AlmaLinux-10.0-beta-1-x86_64_v2-boot.iso": {
		contents: "10.0-beta", system: map[string]string{almaKey[:len(almaKey)-2]: "a key\n", "etc/new-rpmkeys": "#!/bin/sh\necho rpmkeys \"$@\" >>/calls\n"},
		lacks: []string{"usr/bin/rpmkeys"},
	}})
	put("vault/9.4/isos/x86_64", map[string]medium{"AlmaLinux-9.4-x86_64-boot.iso": boot("9.4")})
	put("8/isos/x86_64", map[string]medium{"AlmaLinux-8.10-x86_64-minimal.iso": {
		contents: "8.10 minimal", files: joined(packages("BaseOS/"), packages("Minimal/"), map[string]string{"RPM-GPG-KEY-AlmaLinux": "the key of the medium\n"}),
	}})
	for _, dir := range []string{"9/BaseOS/x86_64", "10/BaseOS/x86_64_v2", "vault/9.4/BaseOS/x86_64"} {
		m.put(dir+"/os/repodata/repomd.xml", []byte("<repomd/>"))
	}
	return m
}

const almaPackages = "basesystem almalinux-release yum"

func TestAlmaLinux(t *testing.T) {
	needUnpacking(t)
	m := almaMirror(t)
	for _, i := range []installation{
		{
			summary: "the newest boot medium", image: `release = "9"`, args: "keys = OURS", medium: "9.10",
			calls: dnfCall("dnf", "9", almaPackages), repos: aRepo("baseos", "URL/9/BaseOS/x86_64/os", "/"+almaKey),
		},
		{
			summary: "a minor release that has left the mirror", image: `release = "9.4"`, args: `keys = OURS, vault = "VAULT"`, medium: "9.4",
			calls: dnfCall("dnf", "9", almaPackages), repos: aRepo("baseos", "VAULT/9.4/BaseOS/x86_64/os", "/"+almaKey),
			said: "the release is taken from ",
		},
		{
			summary: "a medium with packages", image: `release = "8"`, args: `variant = "minimal", keys = OURS`, medium: "8.10 minimal",
			calls: dnfCall("dnf", "8", almaPackages),
			repos: aRepo("cdrom0", "file:///mnt/cdrom/BaseOS", "/mnt/cdrom/RPM-GPG-KEY-AlmaLinux") +
				aRepo("cdrom1", "file:///mnt/cdrom/Minimal", "/mnt/cdrom/RPM-GPG-KEY-AlmaLinux"),
		},
		{
			summary: "a beta, for another architecture, without rpmkeys", image: `release = "10", architecture = "x86_64", mapped_to = "x86_64_v2"`, args: "keys = OURS",
			medium: "10.0-beta", repos: aRepo("baseos", "URL/10/BaseOS/x86_64_v2/os", "/"+almaKey[:len(almaKey)-2]),
			calls: strings.Replace(dnfCall("dnf", "10", almaPackages), "-y", "-y --nogpgcheck --setopt=keepcache=1", 1) +
				"\nrpmkeys --import /key\nrpmkeys --checksig /var/cache/dnf/a.rpm",
		},
		{
			summary: "nothing is verified", image: `release = "9"`, args: "skip_verification = True", medium: "9.10",
			calls: dnfCall("dnf", "9", almaPackages), repos: aRepo("baseos", "URL/9/BaseOS/x86_64/os", ""),
			said: "the packages are not verified: skip_verification is set",
		},
	} {
		i.source = "almalinux"
		t.Run(i.summary, func(t *testing.T) { i.check(t, m) })
	}
}

func TestAlmaLinuxRefuses(t *testing.T) {
	needUnpacking(t)
	iso := medium{contents: "9.5", system: map[string]string{almaKey: "a key\n"}}.iso(t)
	const dir, name = "9/isos/x86_64", "AlmaLinux-9.5-x86_64-boot.iso"
	sums := func(m *mirror, by *signer) { m.put(dir+"/CHECKSUM", by.clear(m.bsdSums(dir, name))) }
	fresh := func(t *testing.T) *mirror {
		m := newMirror(t)
		m.put(dir+"/"+name, iso)
		m.put("8/isos/x86_64/x", nil)
		m.put("9/BaseOS/x86_64/os/repodata/repomd.xml", nil)
		sums(m, trusted())
		return m
	}
	right := installation{source: "almalinux", image: `release = "9"`, args: "keys = OURS"}
	right.refuse(t, fresh,
		refusal{"a flipped bit", func(m *mirror) { m.flip(dir + "/" + name) }, nil, []string{name, "SHA-256"}},
		refusal{"a page with status 200 instead of the medium", func(m *mirror) { m.hinder(dir+"/"+name, portal) }, nil, []string{name}},
		refusal{"a signature by somebody else", func(m *mirror) { sums(m, stranger()) }, nil, []string{"CHECKSUM", stranger().id()}},
		refusal{"no signature", func(m *mirror) { m.put(dir+"/CHECKSUM", m.bsdSums(dir, name)) }, nil, []string{"CHECKSUM"}},
		refusal{"a checksum outside of what is signed", func(m *mirror) {
			m.put(dir+"/CHECKSUM", append(m.bsdSums(dir, name), trusted().clear([]byte("nothing\n"))...))
		}, nil, []string{"CHECKSUM", name}},
		refusal{"no checksum file", func(m *mirror) { m.remove(dir + "/CHECKSUM") }, nil, []string{"CHECKSUM", "404"}},
		refusal{"no checksum", func(m *mirror) { m.put(dir+"/CHECKSUM", trusted().clear([]byte("# nothing\n"))) }, nil, []string{"CHECKSUM"}},
		refusal{"no keys over http", nil, settings(""), []string{"http", "keys"}},
		refusal{"a release that is not there", nil, image(`release = "7"`), []string{"it lists 8, 9"}},
		refusal{"a minor release that is nowhere", nil, func(i *installation) {
			i.image, i.args = `release = "9.1"`, `keys = OURS, vault = "VAULT"`
		}, []string{"it lists 8, 9"}},
		refusal{"a variant that is not there", nil, settings(`keys = OURS, variant = "dvd"`), []string{dir, name}},
		refusal{"no release of AlmaLinux", nil, image(`release = "9-Stream"`), []string{`almalinux: the release is "9-Stream", not such as 9 or 9.5`}},
		refusal{"an architecture that is not there", nil, image(`release = "9", architecture = "riscv64"`),
			[]string{`almalinux: there is nothing for the architecture "riscv64"; known are aarch64, ppc64le, s390x, x86_64`}},
		refusal{"no medium", func(m *mirror) { m.put(dir+"/"+name, []byte("not a medium")); sums(m, trusted()) }, nil, nil},
	)
}

// What the repositories of a boot medium's installation serve decides whether it is made again.
func TestAlmaLinuxFresh(t *testing.T) {
	needUnpacking(t)
	const dir, index = "9/isos/x86_64", "9/BaseOS/x86_64/os/repodata/repomd.xml"
	m, store := newMirror(t), t.TempDir()
	m.put(dir+"/AlmaLinux-9.5-x86_64-boot.iso", medium{contents: "9.5", system: map[string]string{almaKey: "a key\n"}}.iso(t))
	m.put(dir+"/CHECKSUM", trusted().clear(m.bsdSums(dir, "AlmaLinux-9.5-x86_64-boot.iso")))
	m.put(index, []byte("one"))
	recipe := installation{source: "almalinux", image: `release = "9"`, args: "keys = OURS"}.recipe(m)
	for _, step := range []struct {
		summary, index string
		done           int // steps: to unpack the system, its packages, the repository, the key, the installation, the copy, its mount points
	}{{"new", "one", 7}, {"the same", "one", 0}, {"a new index", "two", 3}} {
		m.put(index, []byte(step.index))
		m.requests()
		b, err := runIn(t, store, recipe)
		if err != nil {
			t.Fatal(err)
		}
		if done := strings.Count(b.log, "cached=false") - 1; done != step.done { // without the export
			t.Errorf("%s: %d steps were done\n%s", step.summary, done, b.log)
		}
		if requests := m.requests(); step.done != 7 && asked(requests, ".iso") {
			t.Errorf("%s: the medium was downloaded again: %s", step.summary, requests)
		}
	}
}
