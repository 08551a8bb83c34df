package sources_test

import "testing"

const openwrtDir = "releases/24.10.10/targets/x86/64/"

func TestOpenWrt(t *testing.T) {
	right, other := archive{id: "openwrt"}, archive{id: "other"}
	data, otherData := right.packed(t, "gz"), other.packed(t, "gz")
	put := func(m *mirror, by keys, dir, name string, data []byte) {
		m.put(dir+name, data)
		m.put(dir+"sha256sums", sums("*", m, dir+name))
		m.put(dir+"sha256sums.asc", by.detached(m.get(dir+"sha256sums")))
	}
	fill := func(m *mirror, by keys) {
		put(m, by, openwrtDir, "openwrt-24.10.10-x86-64-rootfs.tar.gz", data)
		for _, version := range []string{"24.10.9", "24.10.11-rc1", "23.05.5"} {
			m.put("releases/"+version+"/targets/x86/64/openwrt-"+version+"-x86-64-rootfs.tar.gz", nil)
		}
		put(m, by, "releases/22.03.7/targets/armvirt/64/", "openwrt-22.03.7-armvirt-64-default-rootfs.tar.gz", otherData)
		put(m, by, "releases/22.03.7/targets/x86/generic/", "openwrt-22.03.7-x86-generic-rootfs.tar.gz", otherData)
		put(m, by, "releases/25.12.0/targets/armsr/armv7/", "openwrt-25.12.0-armsr-armv7-rootfs.tar.gz", otherData)
		put(m, by, "snapshots/targets/x86/64/", "openwrt-x86-64-rootfs.tar.gz", otherData)
	}
	s := scenario{
		function: "openwrt openwrt",
		image:    `"openwrt", "24.10"`,
		fill:     fill,
		archive:  openwrtDir + "openwrt-24.10.10-x86-64-rootfs.tar.gz",
		want:     right,
		gone:     "there is no root file system for x86_64 below",
	}
	s.test(t,
		fault{"a signature that is missing", func(m *mirror) { m.remove(openwrtDir + "sha256sums.asc") }, "", "", []string{"sha256sums: its signature is missing"}},
		fault{"checksums that were changed", func(m *mirror) { m.flip(openwrtDir + "sha256sums") }, "", "", []string{"sha256sums.asc", "its content or the signature was changed"}},
		fault{"a listing of other releases", func(m *mirror) {
			for _, version := range []string{"24.10.9", "24.10.10", "24.10.11-rc1"} {
				m.remove("releases/" + version)
			}
		}, "", "", []string{"/releases", "22.03.7", "23.05.5"}},
		fault{"a release that is not there", nil, `"openwrt", "24.10.1"`, "", []string{"/releases", "24.10.9"}},
		fault{"a release without the target", nil, `"openwrt", "25.12"`, "", []string{"there is no root file system for x86_64", "/releases/25.12.0/targets"}},
		fault{"a release that is none", nil, `"openwrt", "current"`, "", []string{`the release is "current", not such as`}},
	)
	m := s.mirror(t, ours())
	m.style = lighttpd // as the site of OpenWrt is: slashes are outside of links
	for _, image := range []string{
		`"openwrt", "22.03", architecture = "aarch64"`,
		`"openwrt", "22.03.7"`, // only the generic target
		`"openwrt", "25.12.0", architecture = "armhf"`,
		`"openwrt", "snapshot"`,
	} {
		b, err := run(t, s.recipe(m.http, image, withKeys))
		if err != nil {
			t.Errorf("%s: %v", image, err)
			continue
		}
		other.check(t, b.dir)
	}
}
