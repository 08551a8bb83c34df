package sources_test

import "testing"

const ubuntuDir = "ubuntu-base/releases/noble/release/"

func TestUbuntu(t *testing.T) {
	a := archive{id: "ubuntu"}
	data := a.packed(t, "gz")
	fill := func(m *mirror, by keys) {
		for _, codename := range []string{"noble", "24.04"} {
			dir := "ubuntu-base/releases/" + codename + "/release/"
			m.put(dir+"ubuntu-base-24.04.1-base-amd64.tar.gz", nil)
			m.put(dir+"ubuntu-base-24.04.10-base-amd64.tar.gz", data)
			m.put(dir+"ubuntu-base-24.04.9-base-amd64.tar.gz", nil)
			m.put(dir+"ubuntu-base-24.04.11-base-arm64.tar.gz", nil)
			m.put(dir+"SHA256SUMS", sums("*", m, dir+"ubuntu-base-24.04.1-base-amd64.tar.gz", dir+"ubuntu-base-24.04.10-base-amd64.tar.gz"))
			m.put(dir+"SHA256SUMS.gpg", by.detached(m.get(dir+"SHA256SUMS")))
		}
	}
	s := scenario{
		function: "ubuntu ubuntu_http",
		image:    `"ubuntu", "noble"`,
		path:     "ubuntu-base",
		fill:     fill,
		archive:  ubuntuDir + "ubuntu-base-24.04.10-base-amd64.tar.gz",
		want:     a,
	}
	s.test(t,
		fault{"a signature that is missing", func(m *mirror) { m.remove(ubuntuDir + "SHA256SUMS.gpg") }, "", "", []string{"SHA256SUMS.gpg"}},
		fault{"checksums that are missing", func(m *mirror) { m.remove(ubuntuDir + "SHA256SUMS") }, "", "", []string{"SHA256SUMS: the server says 404"}},
		fault{"checksums that were changed", func(m *mirror) {
			m.put(ubuntuDir+"SHA256SUMS", append(m.get(ubuntuDir+"SHA256SUMS"), "\n"...))
		}, "", "", []string{"SHA256SUMS.gpg", "its content or the signature was changed"}},
		fault{"checksums of others", func(m *mirror) {
			m.put(ubuntuDir+"SHA256SUMS", sums("*", m, ubuntuDir+"ubuntu-base-24.04.1-base-amd64.tar.gz"))
			m.put(ubuntuDir+"SHA256SUMS.gpg", trusted().detached(m.get(ubuntuDir+"SHA256SUMS")))
		}, "", "", []string{"does not name ubuntu-base-24.04.10-base-amd64.tar.gz"}},
		fault{"a listing of another release", func(m *mirror) {
			m.remove(ubuntuDir)
			m.put(ubuntuDir+"ubuntu-base-22.04-base-armhf.tar.gz", nil)
		}, "", "", []string{ubuntuDir[:len(ubuntuDir)-1], "ubuntu-base-22.04-base-armhf.tar.gz"}},
		fault{"a release that is not there", nil, `"ubuntu", "oracular"`, "", []string{"noble", "24.04"}},
		fault{"a point release that is not there", nil, `"ubuntu", "24.04.2"`, "", []string{"24.04"}},
		fault{"a variant that is none", nil, `"ubuntu", "noble", variant = "cloud"`, "", []string{`the variant is "cloud", not default or core`}},
	)
	t.Run("by number", func(t *testing.T) {
		b, err := run(t, s.recipe(s.mirror(t, ours()).https+"/ubuntu-base/", `"ubuntu", "24.04"`))
		if err != nil {
			t.Fatal(err)
		}
		a.check(t, b.dir)
	})
}
