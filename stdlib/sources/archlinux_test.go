package sources_test

import (
	"strings"
	"testing"
)

const archFile = "iso/2026.10.01/archlinux-bootstrap-2026.10.01-x86_64.tar.zst"

func TestArchLinux(t *testing.T) {
	a := archive{id: "arch", prefix: "root.x86_64/"}
	old, now := archive{id: "old", prefix: "root.x86_64/"}.packed(t, "gz"), a.packed(t, "zst")
	fill := func(m *mirror, by keys) {
		m.put("iso/latest/archlinux-bootstrap-x86_64.tar.zst", nil)
		m.put("iso/2023.01.01/archlinux-bootstrap-2023.01.01-x86_64.tar.gz", old)
		m.put("iso/2023.01.01/archlinux-bootstrap-2023.01.01-x86_64.tar.gz.sig", by.binary(old))
		m.put("iso/2026.09.01/archlinux-bootstrap-2026.09.01-x86_64.tar.zst", nil)
		m.put(archFile, now)
		m.put(archFile+".sig", by.binary(now))
		m.put("iso/2026.10.01/archlinux-bootstrap-x86_64.tar.zst", now)
		m.put("iso/2026.10.01/archlinux-2026.10.01-x86_64.iso", nil)
		m.put("iso/2026.10.01/sha256sums.txt", sums(" ", m, "iso/2026.10.01/archlinux-2026.10.01-x86_64.iso", archFile))
	}
	s := scenario{
		function: "archlinux archlinux",
		image:    `"archlinux"`,
		path:     "iso",
		fill:     fill,
		archive:  archFile,
		want:     archive{id: "arch"},
	}
	s.test(t,
		fault{"a signature that is missing", func(m *mirror) { m.remove(archFile + ".sig") }, "", "", []string{"its signature is missing", ".sig"}},
		fault{"a checksum that is missing", func(m *mirror) {
			m.put("iso/2026.10.01/sha256sums.txt", sums(" ", m, "iso/2026.10.01/archlinux-2026.10.01-x86_64.iso"))
		},
			"", "", []string{"sha256sums.txt", "does not name archlinux-bootstrap-2026.10.01-x86_64.tar.zst"}},
		fault{"a listing without dates", func(m *mirror) {
			m.remove("iso/2026.10.01")
			m.remove("iso/2026.09.01")
			m.remove("iso/2023.01.01")
		}, "", "", []string{"/iso", "latest"}},
		fault{"a date without an archive", func(m *mirror) { m.remove(archFile) }, "", "", []string{"archlinux-2026.10.01-x86_64.iso"}},
		fault{"a date that is not there", nil, `"archlinux", "2026.11.01"`, "", []string{"2026.10.01", "2026.09.01"}},
	)
	t.Run("an old release without checksums", func(t *testing.T) {
		m := s.mirror(t, ours())
		b, err := run(t, s.recipe(m.http+"/iso/", `"archlinux", "2023.01.01"`, withKeys))
		if err != nil {
			t.Fatal(err)
		}
		archive{id: "old"}.check(t, b.dir)
	})
}

// The ports have one archive each, which is asked for again every time.
func TestArchLinuxPorts(t *testing.T) {
	for architecture, file := range map[string]string{
		"aarch64": "os/ArchLinuxARM-aarch64-latest.tar.gz",
		"arm64":   "os/ArchLinuxARM-aarch64-latest.tar.gz",
		"armhf":   "os/ArchLinuxARM-armv7-latest.tar.gz",
		"riscv64": "images/archriscv-latest.tar.zst",
	} {
		m, store := newMirror(t), t.TempDir()
		recipe := scenario{function: "archlinux archlinux"}.recipe(m.http+"/", `"archlinux", architecture = "`+architecture+`"`, withKeys)
		for _, id := range []string{"first", "second"} {
			a := archive{id: id}
			data := a.packed(t, file[strings.LastIndex(file, ".")+1:])
			m.put(file, data)
			m.put(file+".sig", trusted().binary(data))
			b, err := runIn(t, store, recipe)
			if err != nil {
				t.Errorf("%s: %v", architecture, err)
				continue
			}
			a.check(t, b.dir)
		}
	}
}
