package streams_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
	"imagebuilder/streams/site"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestBuildCatalog compares whole catalogs and indexes, byte for byte: what clients
// see of every kind of file, in our way and in the old tool's.
func TestBuildCatalog(t *testing.T) {
	images := []imagetree.Sample{
		{Product: ubuntu, Version: v1},
		{Product: ubuntu, Version: v2, Files: []string{"lxd.tar.xz", "incus.tar.xz", "rootfs.squashfs", "root.tar.xz", "uefi1.img", "disk1.img", "meta.tar.xz", "notes.txt"}, Sums: true},
		{Product: ubuntu, Version: v3, Files: []string{"incus.tar.xz", "disk.qcow2"}},
		{Product: ubuntu, Version: v4, Files: []string{"lxd.tar.xz", "root.tar.xz"}},
		{Product: "alpine/current/arm64/cloud", Version: v1, Extra: map[string]string{"image.yaml": config}},
		{Stream: "daily", Product: "open_SUSE/current/amd64/default", Version: v1},
	}
	for _, test := range []struct {
		summary  string
		upstream bool
		golden   string
	}{
		{"for all clients", false, "all"},
		{"as the old tool", true, "upstream"},
	} {
		t.Run(test.summary, func(t *testing.T) {
			f := newFixture(t, images...)
			f.write("images/alpine/.requirements", `{"cgroup": "v1", "nesting": false}`)
			f.write("images/alpine/current/.lxd_requirements", `{"cgroup": "v2"}`)
			for _, upstream := range []bool{!test.upstream, test.upstream} { // what was known otherwise does no harm
				f.build(noDeltas, func(o *streams.BuildOptions) {
					o.Streams = []string{"images", "daily"}
					o.Upstream = upstream
				})
			}
			for _, name := range []string{"images.json", "daily.json", "index.json"} {
				golden(t, filepath.Join("testdata", test.golden+"-"+name), f.read("streams/v1/"+name))
			}
			if !test.upstream {
				f.verify()
			}
		})
	}
}

const config = `
image:
  distribution: [anything]
simplestream:
  distro_name: Alpine <Linux>
  release_aliases:
    current: 3.20, edge
  requirements:
  - requirements:
      nesting: true
    variant: [cloud]
  - requirements:
      secureboot: false
    releases: [other]
`

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// TestBuildVersions holds which versions are listed, and what is said of the others.
func TestBuildVersions(t *testing.T) {
	meta, rootfs := "lxd.tar.xz", "rootfs.squashfs"
	tests := []struct {
		summary string
		image   imagetree.Sample
		edit    func(f *fixture)
		listed  bool
		items   string // of the version, if it is listed and this is not empty
		message string
		text    string
		trouble bool
	}{{
		summary: "metadata and a container",
		image:   imagetree.Sample{Files: []string{meta, rootfs}},
		listed:  true,
		items:   "incus.tar.xz lxd.tar.xz rootfs.squashfs",
	}, {
		summary: "no metadata",
		image:   imagetree.Sample{Files: []string{rootfs}},
	}, {
		summary: "no root file system",
		image:   imagetree.Sample{Files: []string{meta}},
	}, {
		summary: "a name of nobody's business",
		image:   imagetree.Sample{Files: []string{meta, rootfs, "rootfs.squashfs.asc", ".hidden.squashfs"}},
		listed:  true,
		items:   "incus.tar.xz lxd.tar.xz rootfs.squashfs",
	}, {
		summary: "two root file systems of a kind: the usual name is taken",
		image:   imagetree.Sample{Files: []string{meta, "a.squashfs", rootfs, "z.squashfs"}},
		listed:  true,
		items:   "incus.tar.xz lxd.tar.xz rootfs.squashfs",
	}, {
		summary: "or else the first",
		image:   imagetree.Sample{Files: []string{meta, "b.qcow2", "a.qcow2"}},
		listed:  true,
		items:   "a.qcow2 incus.tar.xz lxd.tar.xz",
	}, {
		summary: "right checksums",
		image:   imagetree.Sample{Sums: true},
		listed:  true,
	}, {
		summary: "wrong checksums",
		image:   imagetree.Sample{Extra: map[string]string{"SHA256SUMS": strings.Repeat("0", 64) + "  disk.qcow2\n"}},
		message: "Checksum mismatch", text: "item=disk.qcow2", trouble: true,
	}, {
		summary: "no checksums in the file",
		image:   imagetree.Sample{Extra: map[string]string{"SHA256SUMS": ""}},
		message: "Checksum mismatch", text: "item=disk.qcow2", trouble: true,
	}, {
		summary: "a checksum of what is still to come",
		image:   imagetree.Sample{Extra: map[string]string{"SHA256SUMS": strings.Repeat("0", 64) + "  root.tar.xz\n"}},
		message: "Version is incomplete", text: "item=root.tar.xz",
	}, {
		summary: "a configuration that is none",
		image:   imagetree.Sample{Extra: map[string]string{"image.yaml": "simplestream: []"}},
		message: "Failed to get version", text: "not a map", trouble: true,
	}, {
		summary: "a configuration without effect",
		image:   imagetree.Sample{Extra: map[string]string{"images.yaml": "simplestream: {typo: 1, requirements: [{requirements: {secure_boot: false}}]}"}},
		listed:  true,
		message: "Configuration has no effect", text: "key=secure_boot",
	}, {
		summary: "a checksum file that is a directory",
		image:   imagetree.Sample{},
		edit:    func(f *fixture) { f.write(dir(v2)+"SHA256SUMS/x", "") },
		message: "Failed to get version", text: "SHA256SUMS is not a regular file", trouble: true,
	}, {
		summary: "a checksum file that is a link",
		image:   imagetree.Sample{Extra: map[string]string{"sums": ""}},
		edit:    func(f *fixture) { f.symlink("sums", dir(v2)+"SHA256SUMS") },
		message: "Failed to get version", text: "SHA256SUMS is not a regular file", trouble: true,
	}, {
		summary: "a link to a file elsewhere",
		image:   imagetree.Sample{Files: []string{meta}},
		edit: func(f *fixture) {
			f.write("../outside.squashfs", "x")
			f.symlink("../../../../../../../outside.squashfs", dir(v2)+"rootfs.squashfs")
		},
		message: "Left out", text: "it is a symbolic link",
	}, {
		summary: "a link to nothing",
		image:   imagetree.Sample{},
		edit:    func(f *fixture) { f.symlink("nothing", dir(v2)+"root.tar.xz") },
		listed:  true,
		message: "Left out", text: "root.tar.xz",
	}, {
		summary: "a pipe",
		image:   imagetree.Sample{Files: []string{meta}},
		edit: func(f *fixture) {
			if err := syscall.Mkfifo(f.path(dir(v2)+"rootfs.squashfs"), 0o644); err != nil {
				f.Fatal(err)
			}
		},
	}, {
		summary: "a file name with blanks",
		image:   imagetree.Sample{Files: []string{meta, "root fs.squashfs"}},
		message: "Left out", text: "has ' ' in it",
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			f := newFixture(t, versions(ubuntu, v1)...)
			test.image.Product, test.image.Version = ubuntu, v2
			f.make(test.image)
			if test.edit != nil {
				test.edit(f)
			}
			for run := range 2 { // the second time, what is wrong is known
				sum := f.build(noDeltas)
				if slices.Contains(f.listed(), v2) != test.listed || !slices.Contains(f.listed(), v1) {
					t.Fatalf("listed: %v", f.listed())
				}
				if got := strings.Join(f.items(v2), " "); test.items != "" && got != test.items {
					t.Errorf("items: %s", got)
				}
				if (sum.Err() != nil) != test.trouble {
					t.Errorf("run %d: summary: %+v", run, sum)
				}
				if test.message != "" && (run == 0 || test.trouble) && !f.said(test.message, test.text) {
					t.Errorf("run %d: log:\n%s", run, &f.log)
				}
				f.verify()
			}
		})
	}
}

func (f *fixture) symlink(target, name string) {
	f.Helper()
	if err := os.Symlink(target, f.path(name)); err != nil {
		f.Fatal(err)
	}
}

// TestBuildLinks holds that links count at no level, unless they are wanted and stay
// inside.
func TestBuildLinks(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1)...)
	outside := filepath.Join(filepath.Dir(f.root), "outside")
	if err := imagetree.Make(outside, versions("evil/x/y/z", v1)...); err != nil {
		t.Fatal(err)
	}
	f.symlink("noble", "images/ubuntu/jammy")                          // a release
	f.symlink("default", "images/ubuntu/noble/amd64/cloud")            // a variant
	f.symlink(v1, "images/"+ubuntu+"/"+v2)                             // a version
	f.symlink("../../outside/images/evil", "images/evil")              // a way out
	f.symlink(filepath.Join(outside, "images/evil"), "images/absolut") // another
	sum := f.build(noDeltas)
	if len(f.products("images")) != 1 || len(f.listed()) != 1 || sum.Skipped != 5 {
		t.Errorf("%+v", sum)
	}
	links := func(o *streams.BuildOptions) { o.Links, o.Force = true, true }
	sum = f.build(noDeltas, links)
	for id := range f.products("images") {
		if !strings.HasPrefix(id, "ubuntu:") {
			t.Errorf("%s is listed", id)
		}
	}
	if sum.Products != 4 || sum.Failed != 2 || sum.Duplicates == 0 {
		t.Errorf("with links: %+v", sum)
	}
}

// TestBuildNames holds that names which would be ambiguous or dangerous are left out.
func TestBuildNames(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, "20240102_00:00", "-rf", "a,b", ".20240103_0000")...)
	f.make(versions("a:b/noble/amd64/default", v1)...)
	f.make(versions("ubuntu/x y/amd64/default", v1)...)
	f.make(versions("ubuntu/.hidden/amd64/default", v1)...)
	sum := f.build(noDeltas)
	if got := f.listed(); !slices.Equal(got, []string{v1, "20240102_00:00"}) {
		t.Errorf("listed: %v", got)
	}
	if sum.Products != 1 || sum.Skipped != 4 {
		t.Errorf("%+v", sum)
	}
}

// TestBuildUndated holds that versions which clients pass over are named.
func TestBuildUndated(t *testing.T) {
	f := newFixture(t, versions(ubuntu, "v10", "v9")...)
	f.build(noDeltas)
	if !f.said("Clients pass over", "version=v10") {
		t.Errorf("log:\n%s", &f.log)
	}
}

// TestBuildDuplicates holds that no fingerprint is published twice, and that equal
// aliases are told of.
func TestBuildDuplicates(t *testing.T) {
	f := newFixture(t,
		imagetree.Sample{Product: ubuntu, Version: v1, Same: true, Extra: map[string]string{"lxd.tar.xz": "meta"}},
		imagetree.Sample{Product: ubuntu, Version: v2, Same: true, Extra: map[string]string{"lxd.tar.xz": "meta", "disk.qcow2": "other"}},
		imagetree.Sample{Product: ubuntu, Version: v3, Same: true, Extra: map[string]string{"lxd.tar.xz": "meta"}},
		imagetree.Sample{Stream: "daily", Product: ubuntu, Version: v4},
	)
	sum := f.build(noDeltas, func(o *streams.BuildOptions) { o.Streams = []string{"images", "daily"} })
	if got := f.listed(); !slices.Equal(got, []string{v1, v2}) {
		t.Errorf("listed: %v", got)
	}
	if got := strings.Join(f.items(v2), " "); got != "disk.qcow2 incus.tar.xz lxd.tar.xz" {
		t.Errorf("items: %s", got)
	}
	if sum.Duplicates != 3 || !f.said("Image is published already", v3) || !f.said("Alias is used by another product", "ubuntu/noble/amd64") {
		t.Errorf("%+v\n%s", sum, &f.log)
	}
	f.verify()
}

// TestBuildSafety holds that an emptied tree is not published.
func TestBuildSafety(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2, v3, v4)...)
	f.build(noDeltas)
	before := f.published()
	f.remove("images/ubuntu")
	if _, err := f.tryBuild(noDeltas); err == nil || !strings.Contains(err.Error(), "refusing to drop 4 of the 4 versions of stream images") {
		t.Fatalf("got %v", err)
	}
	if after := f.published(); after["images.json"] != before["images.json"] {
		t.Error("the catalog has changed")
	}
	if sum := f.build(noDeltas, func(o *streams.BuildOptions) { o.Force = true }); sum.Dropped != 4 {
		t.Errorf("%+v", sum)
	}
}

// TestBuildErrors holds what is refused before anything is done.
func TestBuildErrors(t *testing.T) {
	tests := []struct {
		summary string
		edit    func(o *streams.BuildOptions)
		err     string
	}{
		{"no root", func(o *streams.BuildOptions) { o.Root = "" }, "no directory is given"},
		{"a root that is not there", func(o *streams.BuildOptions) { o.Root = "/nowhere" }, "no such file"},
		{"a stream that is not there", func(o *streams.BuildOptions) { o.Streams = []string{"nothere"} }, "nothere: no such file or directory"},
		{"a stream twice", func(o *streams.BuildOptions) { o.Streams = []string{"images", "images"} }, "stream images is given twice"},
		{"a stream outside", func(o *streams.BuildOptions) { o.Streams = []string{"../x"} }, `the name "../x" has '/' in it`},
		{"the index as a stream", func(o *streams.BuildOptions) { o.Streams = []string{"index"} }, `the name "index" is reserved`},
		{"a hidden stream", func(o *streams.BuildOptions) { o.Streams = []string{".x"} }, `the name ".x" is hidden`},
		{"a stream version outside", func(o *streams.BuildOptions) { o.StreamVersion = "../../x" }, `stream version: the name "../../x" has '/' in it`},
		{"less than nothing to keep", func(o *streams.BuildOptions) { o.Deltas.Retain.Builds = -1 }, "the number of builds or days to keep is negative"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			f := newFixture(t, versions(ubuntu, v1)...)
			_, err := f.tryBuild(test.edit)
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Fatalf("got %v", err)
			}
			if f.exists("streams/v1") {
				t.Error("something was done")
			}
		})
	}
}

// TestBuildLocked holds that two maintainers do not work at once.
func TestBuildLocked(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1)...)
	f.build(noDeltas)
	lock, err := os.Open(f.path("streams/.state/lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	_, err = f.tryBuild(noDeltas)
	if !errors.Is(err, site.ErrLocked) || !strings.Contains(err.Error(), "process") {
		t.Errorf("build: %v", err)
	}
	if _, err := f.tryPrune(); !errors.Is(err, site.ErrLocked) {
		t.Errorf("prune: %v", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	if _, err = f.tryBuild(noDeltas); !errors.Is(err, site.ErrLocked) || strings.Contains(err.Error(), "process") {
		t.Errorf("a reader has it, not the process that built before: %v", err)
	}
}

// TestBuildCancelled holds that a build that is told to end does, and publishes nothing.
func TestBuildCancelled(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2)...)
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	if _, err := streams.Build(ctx, streams.BuildOptions{Site: f.tree()}); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if f.exists("streams/v1") {
		t.Error("something was published")
	}
	f.build()
	f.verify()
}
