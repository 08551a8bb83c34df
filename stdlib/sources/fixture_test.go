package sources_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What the fixtures promise, by a source that needs no more of them than a file.

func fromArchive(url string) string {
	return fmt.Sprintf("load(\"@stdlib//sources/rootfs_http.star\", \"rootfs_http\")\n"+
		"def made():\n    return rootfs_http(image(\"any\"), %q)\n", url)
}

func TestMirror(t *testing.T) {
	m := newMirror(t)
	a := archive{id: "any", files: map[string]string{"etc/more": "more\n"}}
	for _, extension := range []string{"gz", "bz2", "xz", "zst"} {
		m.put("pub/root.tar."+extension, a.packed(t, extension))
	}
	m.redirect("old/*", "pub/*")
	for _, url := range []string{m.http + "/pub/root.tar.gz", m.https + "/pub/root.tar.xz", m.http + "/old/root.tar.zst", m.https + "/pub/root.tar.bz2"} {
		b, err := run(t, fromArchive(url))
		if err != nil {
			t.Fatal(err)
		}
		a.check(t, b.dir)
	}
	m.hinder("pub/root.tar.gz", notFound)
	if _, err := run(t, fromArchive(m.http+"/pub/root.tar.gz")); err == nil || !strings.Contains(err.Error(), "404 Not Found") {
		t.Error(err)
	}
	m.hinder("pub/root.tar.gz", once())
	m.requests()
	if _, err := run(t, fromArchive(m.http+"/pub/root.tar.gz")); err != nil {
		t.Error(err)
	}
	if asked := m.requests(); !slices.Equal(asked, []string{"GET pub/root.tar.gz", "GET pub/root.tar.gz"}) {
		t.Error(asked)
	}
	m.flip("pub/root.tar.xz")
	if _, err := run(t, fromArchive(m.http+"/pub/root.tar.xz#sha256="+sha256Of(a.packed(t, "xz")))); err == nil || !strings.Contains(err.Error(), "it has the SHA-256") {
		t.Error(err)
	}
}

func TestPlan(t *testing.T) {
	steps, err := plan(t, fromArchive("http://example.org/x.tar"))
	if err != nil || !strings.Contains(steps, `"builtin":"download"`) || strings.Count(steps, "\n") != 4 {
		t.Errorf("%v\n%s", err, steps)
	}
}
