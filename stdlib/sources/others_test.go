package sources_test

import (
	"strings"
	"testing"
)

// Sources whose mirrors have no more to them than a few files.

func TestALT(t *testing.T) {
	const dir = "images/Sisyphus/cloud/x86_64/"
	a := archive{id: "altlinux"}
	data := a.packed(t, "xz")
	s := scenario{
		function: "alt alt",
		image:    `"alt", "Sisyphus"`,
		path:     "images",
		fill: func(m *mirror, by keys) {
			m.put(dir+"alt-sisyphus-rootfs-systemd-x86_64.tar.xz", data)
			m.put(dir+"SHA256SUMS", sums(" ", m, dir+"alt-sisyphus-rootfs-systemd-x86_64.tar.xz"))
			m.put(dir+"SHA256SUMS.gpg", by.binary(m.get(dir+"SHA256SUMS")))
			m.put("images/p11/cloud/aarch64/x", nil)
		},
		archive: dir + "alt-sisyphus-rootfs-systemd-x86_64.tar.xz",
		want:    a,
	}
	s.test(t,
		fault{"a signature that is missing", func(m *mirror) { m.remove(dir + "SHA256SUMS.gpg") }, "", "", []string{"SHA256SUMS: its signature is missing"}},
		fault{"checksums that are missing", func(m *mirror) { m.remove(dir + "SHA256SUMS") }, "", "", []string{"SHA256SUMS: the server says 404"}},
		fault{"a release that is not there", nil, `"alt", "p10"`, "", []string{"Sisyphus", "p11"}},
	)
}

func TestApertis(t *testing.T) {
	const file = "release/v2025/v2025.10/amd64/minimal/ospack_v2025-amd64-minimal_v2025.10.tar.gz"
	a := archive{id: "apertis"}
	data := a.packed(t, "gz")
	s := scenario{
		function: "apertis apertis",
		image:    `"apertis", "v2025", variant = "minimal"`,
		fill: func(m *mirror, by keys) {
			m.put(file, data)
			m.put(file+".sha256", sums(" ", m, file))
			m.put("release/v2025/v2025.9/amd64/minimal/ospack_v2025-amd64-minimal_v2025.9.tar.gz", data)
		},
		archive:  file,
		want:     a,
		unsigned: true,
	}
	s.test(t,
		fault{"a release that is not there", nil, `"apertis", "v2024", variant = "minimal"`, "", []string{"/release", "v2025"}},
		fault{"a release without versions", func(m *mirror) { m.rename("release/v2025", "release/v2025/x") }, "", "", []string{"release/v2025", "it lists x"}},
		fault{"a variant that is not there", nil, `"apertis", "v2025", variant = "bogus"`, "", []string{"ospack_v2025-amd64-bogus_v2025.10.tar.gz: the server says 404"}},
	)
	m := s.mirror(t, ours())
	s.fails(t, []string{"is not https, and nothing there is signed"}, s.recipe(m.http, s.image, withKeys))
	if _, err := run(t, s.recipe(m.http, s.image, "skip_verification = True")); err != nil {
		t.Error(err)
	}
	b, err := run(t, s.recipe(m.https, `"apertis", "v2025.9", variant = "minimal"`)) // which has no checksum
	if err != nil {
		t.Fatal(err)
	}
	a.check(t, b.dir)
}

func TestFuntoo(t *testing.T) {
	const dir = "1.4-release-std/x86-64bit/generic_64/"
	const file = dir + "2024-06-01/stage3-generic_64-1.4-release-std-2024-06-01.tar.xz"
	a := archive{id: "funtoo"}
	data := a.packed(t, "xz")
	s := scenario{
		function: "funtoo funtoo",
		image:    `"funtoo", "1.4"`,
		fill: func(m *mirror, by keys) {
			m.put(file, data)
			m.put(file+".gpg", by.binary(data))
			m.put(dir+"2024-06-02/log", nil) // a day without a stage
			m.put(dir+"2024-05-01/stage3-generic_64-1.4-release-std-2024-05-01.tar.xz.gpg", nil)
		},
		archive: file,
		want:    a,
		gone:    "there is no stage 3 for any of the days",
	}
	s.test(t,
		fault{"a signature that is missing", func(m *mirror) { m.remove(file + ".gpg") }, "", "", []string{"its signature is missing"}},
		fault{"a listing without days", func(m *mirror) { m.rename(dir, dir+"x") }, "", "", []string{dir[:len(dir)-1], "it lists x"}},
		fault{"a release that is not there", nil, `"funtoo", "next"`, "", []string{"1.4-release-std"}},
	)
	b, err := run(t, s.recipe(s.mirror(t, ours()).http, s.image, withKeys))
	if err != nil || !strings.Contains(b.log, "funtoo ended in 2024") {
		t.Errorf("%v\n%s", err, b.log)
	}
}

func TestAlpaquita(t *testing.T) {
	const file = "alpaquita/musl/stream/releases/x86_64/alpaquita-minirootfs-stream-latest-musl-x86_64.tar.gz"
	a := archive{id: "alpaquita"}
	data := a.packed(t, "gz")
	s := scenario{
		function: "alpaquita alpaquita",
		image:    `"alpaquita", "stream"`,
		args:     `variant = "musl"`,
		fill: func(m *mirror, by keys) {
			m.put(file, data)
			m.put(file+".sha512", []byte(sha512Of(data)+"\n"))
		},
		archive:  file,
		want:     a,
		unsigned: true,
	}
	s.test(t,
		fault{"a checksum that is missing", func(m *mirror) { m.remove(file + ".sha512") }, "", "", []string{".sha512: the server says 404"}},
		fault{"a variant that is none", nil, "", `variant = "gnu"`, []string{`the variant is "gnu", not glibc or musl`}},
		fault{"a release that is not there", nil, `"alpaquita", "1"`, "", []string{"alpaquita-minirootfs-1-latest-musl-x86_64.tar.gz", "404"}},
	)
}
