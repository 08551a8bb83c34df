package streams_test

import (
	"compress/gzip"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
	"imagebuilder/streams/page"
)

// TestBuildDryRun holds that nothing is written.
func TestBuildDryRun(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1)...)
	dry := func(o *streams.BuildOptions) { o.DryRun = true }
	if sum := f.build(dry); sum.Added != 1 || sum.Products != 1 || sum.Versions != 1 || f.exists("streams") {
		t.Errorf("%+v", sum)
	}
	f.build()
	f.make(append(versions(ubuntu, v2), versions("other/x/amd64/y", v1)...)...)
	f.make(imagetree.Sample{Product: "incomplete/x/amd64/y", Version: v1, Files: []string{"lxd.tar.xz"}})
	f.remove(dir(v1))
	before := f.published()
	sum := f.build(dry)
	if sum.Added != 2 || sum.Dropped != 1 || sum.Products != 2 || sum.Versions != 2 || !f.said("Version would be read", v2) || !f.said("Version would be dropped", v1) {
		t.Errorf("%+v\n%s", sum, &f.log)
	}
	if after := f.published(); after["images.json"] != before["images.json"] {
		t.Error("the catalog has changed")
	}
}

// TestBuildModes holds that everybody may read what is published, whatever the umask.
func TestBuildModes(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2)...)
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	f.build(func(o *streams.BuildOptions) { o.Page = new(page.Setup) })
	for name, mode := range map[string]os.FileMode{
		"streams": 0o755, "streams/v1": 0o755, "streams/v1/images.json": 0o644, "streams/v1/index.json.gz": 0o644, "index.html": 0o644,
		dir(v2) + "rootfs." + v1 + ".vcdiff": 0o644,
	} {
		if st, err := os.Stat(f.path(name)); err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, st, err)
		}
	}
}

// TestBuildOthers holds that other files beside the catalogs stay, and that a stream
// that is not named leaves the index only.
func TestBuildOthers(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1)...)
	f.make(imagetree.Sample{Stream: "daily", Product: ubuntu, Version: v2})
	f.build(noDeltas, func(o *streams.BuildOptions) { o.Streams = []string{"images", "daily"} })
	f.write("streams/v1/.htaccess", "x")
	f.make(versions(ubuntu, v3)...)
	f.build(noDeltas)
	if !f.exists("streams/v1/.htaccess") || !f.exists("streams/v1/daily.json.gz") || strings.Contains(f.read("streams/v1/index.json"), "daily") {
		t.Errorf("%v", f.published())
	}
	f.write("streams/v1/sub/file", "x") // what cannot be linked makes it go one by one
	f.make(versions(ubuntu, v4)...)
	f.build(noDeltas)
	if !f.exists("streams/v1/sub/file") || !slices.Contains(f.listed(), v4) {
		t.Errorf("%v", f.listed())
	}
	f.verify()
}

// TestBuildPage holds that the page follows the catalogs and the calendar.
func TestBuildPage(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2)...)
	f.write(dir(v2)+"build log?.txt", "x")
	withPage := func(o *streams.BuildOptions) { o.Page = &page.Setup{Remote: "mine"} }
	f.now = f.now.Add(-12 * time.Hour)
	f.build(withPage)
	text := f.read("index.html")
	for _, want := range []string{"mine:ubuntu/noble", dir(v2) + "build%20log%3F.txt", dir(v2) + "rootfs." + v1 + ".vcdiff"} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s", want)
		}
	}
	if strings.Contains(text, "Out of date") {
		t.Error("it is out of date already")
	}
	if sum := f.build(withPage); !sum.Unchanged {
		t.Errorf("%+v", sum)
	}
	f.now = f.now.Add(24 * time.Hour)
	if sum := f.build(withPage); !slices.Equal(sum.Published, []string{"index.html", "index.html.gz"}) || !strings.Contains(f.read("index.html"), "Out of date") {
		t.Errorf("%+v", sum)
	}
	if sum := f.build(withPage); !sum.Unchanged {
		t.Errorf("then: %+v", sum)
	}
	f.write("index.html.gz", "x")
	if sum := f.build(withPage); !slices.Equal(sum.Published, []string{"index.html.gz"}) {
		t.Errorf("of a damaged copy: %+v", sum)
	}
	f.prune(retain(1), atOnce)
	if strings.Contains(f.read("index.html"), v1) {
		t.Error("the page has what was pruned")
	}
	zip, err := gzip.NewReader(strings.NewReader(f.read("index.html.gz")))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(zip); err != nil || string(text) != f.read("index.html") {
		t.Errorf("the compressed page is another one: %v", err)
	}
}
