package sources_test

import (
	"fmt"
	"testing"
)

// The distributions of which only the boot medium, or one with all packages, is used, and
// whose media nobody signs.

func TestSpringdaleLinux(t *testing.T) {
	needUnpacking(t)
	m := newMirror(t)
	const key, packages = "etc/pki/rpm-gpg/RPM-GPG-KEY-springdale", "basesystem springdale-release yum"
	m.put("8/x86_64/os/images/boot.iso", medium{contents: "8", system: map[string]string{key: "a key\n"}}.iso(t))
	m.put("7/x86_64/os/images/boot.iso", medium{contents: "7", live: true, lacks: []string{"usr/bin/dnf"}}.iso(t))
	for _, i := range []installation{
		{
			summary: "8", image: `release = "8"`, medium: "8", calls: dnfCall("dnf", "8", packages),
			repos: aRepo("base", "URL/8/x86_64/os/BaseOS", "/"+key), said: "Springdale Linux has no regular releases any more",
		},
		{
			summary: "7, with the keys that are given", image: `release = "7"`, args: "keys = OURS", medium: "7", calls: dnfCall("yum", "7", packages),
			repos: aRepo("base", "URL/7/x86_64/os", "/mnt/keys.asc"),
		},
	} {
		i.source = "springdalelinux"
		t.Run(i.summary, func(t *testing.T) { i.check(t, m) })
	}
	installation{source: "springdalelinux", image: `release = "8"`}.refuse(t, func(*testing.T) *mirror { return m },
		refusal{"packages that cannot be verified", nil, image(`release = "7"`), []string{"the packages cannot be verified: the medium has no key, and none is given"}},
		refusal{"a release that is not there", nil, image(`release = "9"`), []string{"9/x86_64/os/images/boot.iso", "404"}},
		refusal{"an architecture that is not there", nil, image(`release = "8", architecture = "s390x"`), []string{"known are i686, x86_64"}},
	)
}

func TestOpenEuler(t *testing.T) {
	needUnpacking(t)
	m := newMirror(t)
	const packagesOf, name = "basesystem openEuler-release yum", "openEuler-22.03-LTS-SP10"
	const iso = name + "/ISO/x86_64/" + name + "-x86_64-dvd.iso"
	m.put(iso, medium{contents: "SP10", files: joined(packages(""), map[string]string{"RPM-GPG-KEY-openEuler": "a key\n"})}.iso(t))
	m.put(iso+".sha256sum", []byte(sha256Of(m.get(iso))+"  "+name+"-x86_64-dvd.iso\n"))
	const exactly = "openEuler-20.03-LTS-SP1"
	exact := exactly + "/ISO/x86_64/" + exactly + "-x86_64-dvd.iso"
	m.put(exact, medium{contents: "20.03-LTS-SP1", system: map[string]string{"etc/pki/rpm-gpg/RPM-GPG-KEY-openEuler": "a key\n"}}.iso(t))
	m.put(exact+".sha256sum", []byte(sha256Of(m.get(exact))+"  "+exactly+"-x86_64-dvd.iso\n"))
	for _, other := range []string{"openEuler-22.03-LTS", "openEuler-22.03-LTS-SP9", "openEuler-20.03-LTS-SP4", "openEuler-22.09", "openEuler-22.03-LTS-SP11-rc1"} {
		m.put(other+"/x", nil)
	}
	cdrom := aRepo("cdrom0", "file:///mnt/cdrom", "/mnt/cdrom/RPM-GPG-KEY-openEuler")
	for _, i := range []installation{
		{summary: "the newest service pack", image: `release = "22.03"`, medium: "SP10", calls: dnfCall("dnf", "", packagesOf), repos: cdrom},
		{summary: "with LTS", image: `release = "22.03-LTS"`, medium: "SP10", calls: dnfCall("dnf", "", packagesOf), repos: cdrom},
		{
			summary: "a service pack, without packages on the medium", image: `release = "20.03-LTS-SP1"`, medium: "20.03-LTS-SP1", calls: dnfCall("dnf", "", packagesOf),
			repos: aRepo("os", "URL/openEuler-20.03-LTS-SP1/OS/x86_64", "/etc/pki/rpm-gpg/RPM-GPG-KEY-openEuler"),
		},
	} {
		i.source = "openeuler"
		t.Run(i.summary, func(t *testing.T) { i.check(t, m) })
	}
	installation{source: "openeuler", image: `release = "22.03"`}.refuse(t, func(*testing.T) *mirror { return m },
		refusal{"a release that is not there", nil, image(`release = "24.03"`), []string{"it lists ", "openEuler-22.03-LTS"}},
		refusal{"no release of openEuler", nil, image(`release = "x"`), []string{`openeuler: the release is "x", not such as 22.03`}},
		refusal{"no release at all", nil, image(`release = ""`), []string{`openeuler: the release is "", not such as 22.03`}},
		refusal{"no checksum file", func(m *mirror) { m.remove(exact + ".sha256sum") }, image(`release = "20.03-LTS-SP1"`), []string{"sha256sum", "404"}},
		refusal{"a flipped bit", func(m *mirror) { m.flip(iso) }, nil, []string{"SHA-256"}},
	)
}

func TestOracleLinux(t *testing.T) {
	needUnpacking(t)
	m := newMirror(t)
	const key, packagesOf = "etc/pki/rpm-gpg/RPM-GPG-KEY-oracle", "basesystem oraclelinux-release yum"
	const media = "ISOS/OracleLinux"
	m.put(media+"/OL9/u10/x86_64/OracleLinux-R9-U10-x86_64-boot.iso", medium{contents: "9.10", system: map[string]string{key: "a key\n"}}.iso(t))
	m.put(media+"/OL9/u9/x86_64/OracleLinux-R9-U9-x86_64-boot.iso", []byte("another medium"))
	m.put(media+"/OL9/u11/aarch64/x.iso", []byte("not for this architecture"))
	m.put(media+"/OL8/u1/x86_64/x86_64-boot-20200101.iso", medium{contents: "8.1", system: map[string]string{key: "a key\n"}}.iso(t))
	m.put(media+"/OL7/u9/x86_64/x86_64-boot.iso", medium{contents: "7.9", live: true, lacks: []string{"usr/bin/dnf", "usr/bin/yum", "usr/bin/rpmkeys"}}.iso(t))
	base := "repo/OracleLinux/OL7/9/base/x86_64"
	var page string
	for _, name := range []string{"rpm-4.9.el7.rpm", "rpm-4.11.el7.rpm", "rpm-libs-4.11.el7.rpm", "yum-3.4.el7.rpm"} {
		m.put(base+"/getPackage/"+name, []byte(name))
		page += fmt.Sprintf("<a href=\"getPackage/%s\">%s</a>\n", name, name)
	}
	m.put(base+"/index.html", []byte(page))
	m.put("RPM-GPG-KEY-oracle-ol7", []byte(trusted().key()))
	for _, i := range []installation{
		{
			summary: "the newest update that has a medium", image: `release = "9"`, medium: "9.10", calls: dnfCall("dnf", "9", packagesOf),
			repos: aRepo("base", "URL/repo/OracleLinux/OL9/10/baseos/base/x86_64", "/"+key),
		},
		{
			summary: "the only update", image: `release = "8"`, medium: "8.1", calls: dnfCall("dnf", "8", packagesOf),
			repos: aRepo("base", "URL/repo/OracleLinux/OL8/1/baseos/base/x86_64", "/"+key),
		},
		{
			summary: "7, whose medium has no yum", image: `release = "7"`, medium: "7.9", https: true,
			calls: "rpm --import file:///mnt/keys.asc\nrpm --checksig /mnt/tools/rpm-4.11.el7.rpm\nrpm -ivh --nodeps /mnt/tools/rpm-4.11.el7.rpm\n" +
				"rpm --checksig /mnt/tools/yum-3.4.el7.rpm\nrpm -ivh --nodeps /mnt/tools/yum-3.4.el7.rpm\n" + dnfCall("yum", "7", packagesOf),
			repos: aRepo("base", "URL/repo/OracleLinux/OL7/9/base/x86_64", "/mnt/keys.asc"),
		},
	} {
		i.source, i.path = "oraclelinux", "/"+media
		t.Run(i.summary, func(t *testing.T) { i.check(t, m) })
	}
	b, err := run(t, installation{source: "oraclelinux", image: `release = "9"`, path: "/" + media}.recipe(m))
	if err != nil {
		t.Fatal(err)
	}
	const file = "file:///etc/pki/rpm-gpg/RPM-GPG-KEY-oracle"
	for name, path := range map[string]string{"base": "10/baseos/base", "base_latest": "baseos/latest"} {
		want := aRepo(name, m.http+"/repo/OracleLinux/OL9/"+path+"/x86_64", file[len("file://"):])
		if got := read(t, b.dir, "etc/yum.repos.d/"+name+".repo"); got != want {
			t.Errorf("%s.repo is\n%s, want\n%s", name, got, want)
		}
	}
	installation{source: "oraclelinux", image: `release = "9"`, path: "/" + media}.refuse(t, func(*testing.T) *mirror { return m },
		refusal{"7, without a key", nil, image(`release = "7"`), []string{"the packages cannot be verified: the medium has no key, and none is given"}},
		refusal{"no medium for the architecture", nil, image(`release = "8", architecture = "aarch64"`), []string{"has a boot medium for aarch64; there are u1"}},
		refusal{"a release that is not there", nil, image(`release = "10"`), []string{"OL10", "404"}},
		refusal{"no release of Oracle Linux", nil, image(`release = "9.1"`), []string{`oraclelinux: the release is "9.1", not such as 9`}},
	)
}
