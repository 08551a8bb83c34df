package sources_test

import (
	"maps"
	"strings"
	"testing"
)

const alpineDir = "alpine/v3.21/releases/x86_64/"

// alpineFiles makes a mirror of Alpine with one archive for each version.
func alpineFiles(t *testing.T, a archive, versions ...string) func(*mirror, keys) {
	data := make(map[string][]byte)
	for _, version := range versions {
		b := a
		b.files = maps.Clone(a.files)
		if b.files == nil {
			b.files = make(map[string]string)
		}
		b.files["etc/version"] = version
		data[version] = b.packed(t, "gz")
	}
	return func(m *mirror, by keys) {
		for version, packed := range data {
			name := alpineDir + "alpine-minirootfs-" + version + "-x86_64.tar.gz"
			m.put(name, packed)
			m.put(name+".sha256", sums(" ", m, name))
			m.put(name+".asc", by.detached(m.get(name)))
		}
		m.put(alpineDir+"latest-releases.yaml", []byte("---\n"))
		m.put("alpine/v3.9/releases/x86_64/alpine-minirootfs-3.9.1-x86_64.tar.gz", nil)
	}
}

func TestAlpine(t *testing.T) {
	a := archive{id: "alpine", top: 0o700, files: map[string]string{"etc/version": "3.21.10"}}
	s := scenario{
		function: "alpine alpine",
		image:    `"alpine", "3.21"`,
		path:     "alpine",
		fill:     alpineFiles(t, a, "3.21.9", "3.21.10", "3.21.11_rc1"),
		archive:  alpineDir + "alpine-minirootfs-3.21.10-x86_64.tar.gz",
		want:     a,
	}
	s.test(t,
		fault{"a checksum that is missing", func(m *mirror) { m.remove(s.archive + ".sha256") }, "", "", []string{"404 Not Found", ".sha256"}},
		fault{"a signature that is missing", func(m *mirror) { m.remove(s.archive + ".asc") }, "", "", []string{"its signature is missing", ".asc"}},
		fault{"a listing of another release", func(m *mirror) {
			for _, version := range []string{"9", "10", "11_rc1"} {
				m.rename(alpineDir+"alpine-minirootfs-3.21."+version+"-x86_64.tar.gz", alpineDir+"alpine-minirootfs-3.20."+version+"-x86_64.tar.gz")
			}
		}, "", "", []string{alpineDir[:len(alpineDir)-1], "alpine-minirootfs-3.20.10-x86_64.tar.gz"}},
		fault{"a listing that is an error with links", func(m *mirror) { m.hinder(alpineDir, notFound) }, "", "", []string{alpineDir[:len(alpineDir)-1], "404 Not Found"}},
		fault{"a connection that always breaks", func(m *mirror) { m.hinder(s.archive, cut) }, "", "", []string{s.archive, "the connection broke"}},
		fault{"a series that is not there", nil, `"alpine", "3.22"`, "", []string{"v3.21", "v3.9"}},
		fault{"a version that is not there", nil, `"alpine", "3.21.8"`, "", []string{"alpine-minirootfs-3.21.10-x86_64.tar.gz"}},
		fault{"a release that is none", nil, `"alpine", "bookworm"`, "", []string{`the release is "bookworm", not such as 3.22`}},
		fault{"edge of nothing", nil, `"alpine", "edge"`, "", []string{"same_as"}},
	)
	t.Run("exactly that version", func(t *testing.T) {
		b, err := run(t, s.recipe(s.mirror(t, ours()).https+"/alpine", `"alpine", "3.21.9"`))
		if err != nil {
			t.Fatal(err)
		}
		if version := read(t, b.dir, "etc/version"); version != "3.21.9" {
			t.Error(version)
		}
	})
}

// Every kind of listing is understood.
func TestListings(t *testing.T) {
	a := archive{id: "alpine"}
	s := scenario{function: "alpine alpine", image: `"alpine", "3.21"`, fill: alpineFiles(t, a, "3.21.1"), want: a}
	for name, style := range styles {
		m := s.mirror(t, ours())
		m.style = style
		m.redirect("moved/*", "alpine/*")
		b, err := run(t, s.recipe(m.https+"/moved/", s.image))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		s.want.check(t, b.dir)
	}
}

// Edge is a release whose packages are replaced, again when its index changes.
func TestAlpineEdge(t *testing.T) {
	m := newMirror(t)
	a := archive{id: "alpine", shell: true, files: map[string]string{
		"etc/apk/repositories": m.http + "/alpine/v3.21/main\n",
		"bin/apk":              "#!/bin/sh\necho \"$@\" >>/etc/done\n",
	}}
	alpineFiles(t, a, "3.21.1")(m, ours())
	index := "alpine/edge/main/x86_64/APKINDEX.tar.gz"
	m.put(index, []byte("1"))
	recipe := scenario{function: "alpine alpine"}.recipe(m.https+"/alpine", `"alpine", "edge"`, `same_as = "3.21"`)
	store := t.TempDir()
	for i, want := range []string{"1", "1", "2"} {
		m.put(index, []byte(want))
		m.requests()
		b, err := runIn(t, store, recipe)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, b.dir, "etc/apk/repositories"); got != m.http+"/alpine/edge/main\n" {
			t.Errorf("the repositories are %s", got)
		}
		if got := read(t, b.dir, "etc/done"); got != "upgrade --update-cache --available\n" {
			t.Errorf("done was %s", got)
		}
		upgrade := b.log[strings.LastIndex(b.log, "--available"):] // a line says that it begins, the last that it has ended
		if upgraded := strings.Contains(upgrade[:strings.Index(upgrade, "\n")], "cached=false"); upgraded != (i != 1) {
			t.Errorf("run %d upgrades: %v\n%s", i, upgraded, b.log)
		}
	}
}
