package streams_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imagebuilder/streams"
	"imagebuilder/streams/page"
)

// enlarge makes a file as large as an uploader likes, without taking up any room.
func (f *fixture) enlarge(name string, size int64) {
	f.Helper()
	if err := os.Truncate(f.path(name), size); err != nil {
		f.Skipf("the file system has no files of this size: %v", err)
	}
}

// TestBuildMaxFile holds that a file which is too large to be an image keeps its version out and
// nothing else, and is not read; with another limit it is.
func TestBuildMaxFile(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2, v3)...)
	f.build(noDeltas)
	f.enlarge(dir(v2)+"disk.qcow2", 15<<40) // one that was listed
	f.enlarge(dir(v3)+"rootfs.squashfs", streams.DefaultMaxFile+1)
	f.make(versions(ubuntu, v4)...)
	for range 2 { // it is said every time
		sum := f.build(noDeltas)
		if sum.Failed != 2 || sum.Read > 1<<20 || !slices.Equal(f.listed(), []string{v1, v4}) {
			t.Errorf("%v %+v", f.listed(), sum)
		}
		if !f.said("Failed to get version", "it is left out: disk.qcow2 has 15.0 TiB, and a file may have 256.0 GiB") {
			t.Errorf("log: %s", &f.log)
		}
	}
	if sum := f.build(noDeltas, func(o *streams.BuildOptions) { o.DryRun = true }); sum.Added != 0 {
		t.Errorf("it would add %+v", sum)
	}
	f.enlarge(dir(v2)+"disk.qcow2", 2<<20)
	f.enlarge(dir(v3)+"rootfs.squashfs", 3<<20)
	small := func(o *streams.BuildOptions) { o.MaxFile = 2 << 20 }
	if f.build(noDeltas, small); !slices.Equal(f.listed(), []string{v1, v2, v4}) {
		t.Errorf("with a lower limit: %v", f.listed())
	}
	if f.build(noDeltas); !slices.Equal(f.listed(), []string{v1, v2, v3, v4}) {
		t.Errorf("with the usual one: %v", f.listed())
	}
	f.verify()
}

// TestVerifyLarge holds that a listed file of another size is not read, however large it is, and
// that a repair leaves its version out, by the limit of the last build.
func TestVerifyLarge(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2)...)
	f.build(noDeltas)
	f.enlarge(dir(v2)+"disk.qcow2", 15<<40)
	faults := f.faults()
	if len(faults) != 1 || faults[0].Kind != "content" || faults[0].Problem != "its size is not that in the catalog" {
		t.Errorf("%+v", faults)
	}
	if f.repair(t, 1); !slices.Equal(f.listed(), []string{v1}) {
		t.Errorf("listed: %v", f.listed())
	}
}

// TestBuildStops holds that a run stops promptly, however much of a file there still is to read.
func TestBuildStops(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1)...)
	f.enlarge(dir(v1)+"disk.qcow2", 1<<40)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := streams.Build(ctx, streams.BuildOptions{Site: f.tree(), MaxFile: 2 << 40})
	if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 20*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
}

// TestStrangeCatalogs holds that whatever is in the place of a catalog or an index is neither
// opened nor read if it is no file, by no word.
func TestStrangeCatalogs(t *testing.T) {
	makes := map[string]func(path string) error{
		"a pipe": func(path string) error { return unix.Mkfifo(path, 0o644) },
		"a device": func(path string) error {
			return unix.Mknod(path, unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5))) // zeros without end
		},
		"a socket": func(path string) error { return unix.Mknod(path, unix.S_IFSOCK|0o644, 0) },
	}
	for kind, make := range makes {
		for _, name := range []string{"images.json", "index.json", "images.json.gz", "index.json.gpg", "index.sjson"} {
			t.Run(kind+" for "+name, func(t *testing.T) {
				f := newFixture(t, versions(ubuntu, v1)...)
				f.build()
				f.make(versions(ubuntu, v2)...)
				f.remove("streams/v1/" + name)
				if err := make(f.path("streams/v1/" + name)); err != nil {
					t.Skip(err)
				}
				ctx := context.Background()
				for word, run := range map[string]func() error{
					"build":  func() error { _, err := f.tryBuild(); return err },
					"prune":  func() error { _, err := f.tryPrune(); return err },
					"list":   func() error { _, err := streams.List(ctx, streams.ListOptions{Site: f.tree()}); return err },
					"verify": func() error { _, err := streams.Verify(ctx, streams.VerifyOptions{Site: f.tree()}); return err },
					"repair": func() error {
						_, err := streams.Verify(ctx, streams.VerifyOptions{Site: f.tree(), Repair: true})
						return err
					},
				} {
					if err := run(); err == nil || !strings.Contains(err.Error(), "streams/v1/"+name+": not a regular file; remove it") {
						t.Errorf("%s: got %v", word, err)
					}
				}
			})
		}
	}
}

// TestLargeCatalogs holds that a catalog, an index or a page that somebody has made too large to be
// read to its end is made anew, and is no reason to wait.
func TestLargeCatalogs(t *testing.T) {
	for _, name := range []string{"streams/v1/images.json", "streams/v1/index.json", "index.html"} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, versions(ubuntu, v1)...)
			withPage := func(o *streams.BuildOptions) { o.Page = new(page.Setup) }
			f.build(withPage)
			want := f.read(name)
			f.enlarge(name, 15<<40)
			if f.build(withPage); f.read(name) != want {
				t.Error("it is not what it was")
			}
			f.enlarge(name, 15<<40)
			if faults := f.faults(); name != "index.html" && len(faults) == 0 {
				t.Error("verify finds nothing")
			}
		})
	}
}

// TestDirectoryForPage holds that a directory in the place of a file of the page is found before
// anything is published.
func TestDirectoryForPage(t *testing.T) {
	for _, name := range []string{"index.html", "index.html.gz", "page.css"} {
		f := newFixture(t, versions(ubuntu, v1)...)
		f.build()
		before := f.published()
		f.make(versions(ubuntu, v2)...)
		f.write(name+"/kept", "")
		_, err := f.tryBuild(func(o *streams.BuildOptions) { o.Page = new(page.Setup) })
		if err == nil || err.Error() != "replace "+name+": is a directory" {
			t.Errorf("%s: got %v", name, err)
		}
		if !maps.Equal(f.published(), before) {
			t.Errorf("%s: something was published", name)
		}
	}
}
