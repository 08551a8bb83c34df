package sources_test

import (
	"fmt"
	"testing"
)

func TestVoid(t *testing.T) {
	glibc, musl := archive{id: "void"}, archive{id: "void-musl"}
	files := map[string][]byte{
		"void-x86_64-ROOTFS-20261001.tar.xz":      glibc.packed(t, "xz"),
		"void-x86_64-musl-ROOTFS-20261001.tar.xz": musl.packed(t, "xz"),
		"void-x86_64-ROOTFS-20250202.tar.xz":      nil,
		"void-live-x86_64-20261001-base.iso":      nil,
	}
	fill := func(m *mirror, by keys) {
		text := ""
		for name, data := range files {
			m.put("live/current/"+name, data)
			text += fmt.Sprintf("# %s: %d bytes\nSHA256 (%s) = %s\n", name, len(data), name, sha256Of(data))
		}
		m.put("live/current/sha256sum.txt", []byte(text))
		m.put("live/current/sha256sum.sig", by.minisigned([]byte(text)))
	}
	s := scenario{
		function: "void void",
		image:    `"voidlinux", "current"`,
		path:     "live/current",
		fill:     fill,
		archive:  "live/current/void-x86_64-ROOTFS-20261001.tar.xz",
		want:     glibc,
	}
	s.test(t,
		fault{"a signature that is missing", func(m *mirror) { m.remove("live/current/sha256sum.sig") }, "", "", []string{"sha256sum.sig"}},
		fault{"checksums that were changed", func(m *mirror) { m.flip("live/current/sha256sum.txt") }, "", "", []string{"sha256sum.sig", "its content or the signature was changed"}},
		fault{"a listing without archives", func(m *mirror) {
			for name := range files {
				if name != "void-live-x86_64-20261001-base.iso" {
					m.remove("live/current/" + name)
				}
			}
		}, "", "", []string{"live/current", "void-live-x86_64-20261001-base.iso"}},
		fault{"an architecture without an archive", nil, s.image + `, architecture = "aarch64"`, "", []string{"void-x86_64-ROOTFS-20261001.tar.xz"}},
		fault{"a variant that is none", nil, "", `variant = "glib"`, []string{`the variant is "glib", not musl or nothing`}},
		fault{"keys of OpenPGP alone over http", nil, "", "keys = OURS[:1]", []string{"its signature is of"}},
	)
	m := s.mirror(t, ours())
	for _, way := range []struct {
		summary, url, args string
		signature          []byte
	}{
		{"musl", m.http, withKeys, m.get("live/current/sha256sum.sig")},
		{"a signature of signify", m.http, withKeys, trustedSignify().signed(m.get("live/current/sha256sum.txt"))},
		{"a signature of OpenPGP", m.http, "keys = OURS[:1]", trusted().detached(m.get("live/current/sha256sum.txt"))},
		{"keys of OpenPGP alone over https", m.https, "keys = OURS[:1]", m.get("live/current/sha256sum.sig")},
	} {
		t.Run(way.summary, func(t *testing.T) {
			m.put("live/current/sha256sum.sig", way.signature)
			b, err := run(t, s.recipe(way.url+"/live/current/", s.image, `variant = "musl"`, way.args))
			if err != nil {
				t.Fatal(err)
			}
			musl.check(t, b.dir)
		})
	}
}
