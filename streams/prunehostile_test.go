package streams_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
)

// TestPruneHostile holds that nothing outside the streams is removed, whatever the
// catalog, the state or the tree say.
func TestPruneHostile(t *testing.T) {
	good := `"versions":{"` + v1 + `"`
	tests := []struct {
		summary string
		edit    func(f *fixture)
	}{{
		summary: "a version that leads out",
		edit:    func(f *fixture) { f.replace("streams/v1/images.json", good, `"versions":{"../../../../../outside"`) },
	}, {
		summary: "a product that leads out",
		edit:    func(f *fixture) { f.replace("streams/v1/images.json", `"distro":"ubuntu"`, `"distro":"../outside"`) },
	}, {
		summary: "a product id that leads out",
		edit:    func(f *fixture) { f.replace("streams/v1/images.json", ubuntuID, "..:noble:amd64:default") },
	}, {
		summary: "a file that leads out",
		edit: func(f *fixture) {
			f.replace("streams/v1/images.json", "/lxd.tar.xz", "/../../../../../../outside/file")
		},
	}, {
		summary: "a state that leads out",
		edit: func(f *fixture) {
			f.write("streams/.state/leaving.json", `{"../outside":"2020-01-01T00:00:00Z","images/../../outside/x/y/z":"2020-01-01T00:00:00Z",`+
				`"outside/a/b/c/d/e":"2020-01-01T00:00:00Z","images":"2020-01-01T00:00:00Z","images/a/b/c/d/../../../../../outside":"2020-01-01T00:00:00Z"}`)
		},
	}, {
		summary: "a version that is a link",
		edit: func(f *fixture) {
			f.remove(dir(v1))
			f.symlink("../../../../../../outside", strings.TrimSuffix(dir(v1), "/"))
		},
	}, {
		summary: "a variant that is a link",
		edit: func(f *fixture) {
			f.write("../outside/"+v1+"/lxd.tar.xz", "x")
			f.write("../outside/"+v2+"/lxd.tar.xz", "x")
			f.remove("images/" + ubuntu)
			f.symlink("../../../../../outside", "images/"+ubuntu)
		},
	}, {
		summary: "a stream that is a link",
		edit: func(f *fixture) {
			f.write("../outside/"+ubuntu+"/"+v1+"/lxd.tar.xz", "x")
			f.remove("images")
			f.symlink("../outside", "images")
		},
	}, {
		summary: "a link in a version",
		edit: func(f *fixture) {
			f.symlink("../../../../../../../outside", dir(v1)+"sub")
			f.symlink("../../../../../../../outside/file", dir(v1)+"rootfs.x.vcdiff")
		},
	}, {
		summary: "a link where a version is put before it is removed",
		edit: func(f *fixture) {
			f.symlink("../../../../../../outside", "images/"+ubuntu+"/."+v1+".removed")
		},
	}, {
		summary: "the catalogs are a link",
		edit: func(f *fixture) {
			if err := os.Rename(f.path("streams/v1"), f.path("../v1")); err != nil {
				f.Fatal(err)
			}
			f.symlink("../../v1", "streams/v1")
		},
	}}
	for _, test := range tests {
		for _, links := range []bool{false, true} {
			t.Run(test.summary, func(t *testing.T) {
				f := newFixture(t, versions(ubuntu, v1, v2)...)
				f.write("../outside/file", "precious")
				f.age("../outside", 100*time.Hour)
				f.build(noDeltas)
				test.edit(f)
				before := f.outside()
				_, err := f.tryPrune(retain(1), atOnce, func(o *streams.PruneOptions) { o.Dangling, o.Links, o.Force = true, links, true })
				if after := f.outside(); !slices.Equal(before, after) {
					t.Errorf("outside (%v): %v", err, after)
				}
				f.tryBuild(noDeltas, func(o *streams.BuildOptions) { o.Force, o.Links = true, links })
				if after := f.outside(); !slices.Equal(before, after) {
					t.Errorf("outside, after a build: %v", after)
				}
			})
		}
	}
}

func (f *fixture) replace(name, old, new string) {
	f.Helper()
	text := f.read(name)
	if !strings.Contains(text, old) {
		f.Fatalf("%s does not have %s", name, old)
	}
	f.write(name, strings.ReplaceAll(text, old, new))
}

// outside lists what is beside the root.
func (f *fixture) outside() []string {
	f.Helper()
	var names []string
	err := walk(f.path("../outside"), func(name string) { names = append(names, name) })
	if err != nil {
		f.Fatal(err)
	}
	return names
}

func walk(dir string, fn func(string)) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		fn(dir + "/" + e.Name())
		if e.IsDir() {
			err = walk(dir+"/"+e.Name(), fn)
		}
	}
	return err
}

// TestPruneDamaged holds that a product which cannot be trusted leaves the catalog and
// that a catalog which cannot be read is not written.
func TestPruneDamaged(t *testing.T) {
	f := newFixture(t, append(versions(ubuntu, v1), versions("other/x/amd64/y", v1)...)...)
	f.build(noDeltas)
	f.replace("streams/v1/images.json", `"distro":"ubuntu"`, `"distro":"x"`)
	if sum := f.prune(); sum.Failed != 1 || sum.Err() == nil || len(f.products("images")) != 1 {
		t.Errorf("%+v", sum)
	}
	f.build(noDeltas)
	text := f.read("streams/v1/images.json")
	own := text[strings.Index(text, `"`+ubuntuID) : len(text)-len("}}\n")]
	f.write("streams/v1/images.json", strings.Replace(text, `"products":{`, `"products":{`+strings.ReplaceAll(own, v1, v2)+",", 1))
	if _, err := f.tryPrune(retain(1), atOnce); err == nil || !strings.Contains(err.Error(), "is there twice") || !f.exists(dir(v1)) {
		t.Errorf("got %v", err)
	}
	f.build(noDeltas)
	f.write("streams/v1/images.json", f.read("streams/v1/images.json")[:200])
	if _, err := f.tryPrune(); err == nil || !strings.Contains(err.Error(), "not a catalog") {
		t.Errorf("got %v", err)
	}
	f.remove("streams/v1/images.json")
	if _, err := f.tryPrune(); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
}

// TestPruneUntrusted holds that the files of a product which leaves the catalog because
// it cannot be trusted stay until a build lists them again, and that it is refused to
// drop most of a stream in this way.
func TestPruneUntrusted(t *testing.T) {
	other := "other/x/amd64/y"
	f := newFixture(t, append(versions(ubuntu, v1), versions(other, v1, v2)...)...)
	f.build(noDeltas)
	f.age("images", 100*time.Hour)
	spoil := func(product string) {
		at := `"path":"images/` + product + "/" + v1 + `/rootfs.squashfs","size":`
		f.replace("streams/v1/images.json", at, at+`"1","was":`)
	}
	dangling := func(o *streams.PruneOptions) { o.Dangling = true }
	spoil(ubuntu)
	for range 2 { // the second does not see any more what was wrong with the catalog
		if sum := f.prune(dangling); sum.Dangling > 0 || !f.exists(dir(v1)) || len(f.products("images")) != 1 {
			t.Fatalf("%+v\n%s", sum, &f.log)
		}
	}
	if f.build(noDeltas); !slices.Equal(f.listed(), []string{v1}) {
		t.Errorf("listed: %v", f.listed())
	}
	f.make(versions(ubuntu, "."+v2)...)
	f.age(dir("."+v2), 100*time.Hour)
	if sum := f.prune(dangling); sum.Dangling != 1 {
		t.Errorf("after the build: %+v\n%s", sum, &f.log)
	}
	spoil(ubuntu)
	spoil(other)
	if _, err := f.tryPrune(dangling); err == nil || !strings.Contains(err.Error(), "refusing to drop 3 of the 3 versions") {
		t.Errorf("got %v", err)
	}
}

// TestPruneUndated holds that a version whose name has no date is as old as its metadata
// for LXD says, or else as that for Incus, and not as old as one of them by chance.
func TestPruneUndated(t *testing.T) {
	f := newFixture(t, imagetree.Sample{Product: ubuntu, Version: "current", Files: []string{"lxd.tar.xz", "incus.tar.xz", "rootfs.squashfs"}})
	for name, days := range map[string]int{"lxd.tar.xz": 1, "incus.tar.xz": 100} {
		when := f.now.AddDate(0, 0, -days)
		if err := os.Chtimes(f.path(dir("current")+"/"+name), when, when); err != nil {
			t.Fatal(err)
		}
	}
	f.build(noDeltas)
	for range 20 {
		sum := f.prune(func(o *streams.PruneOptions) { o.Retain.Days, o.Retain.AllowEmpty, o.DryRun = 30, true, true })
		if sum.Dropped > 0 {
			t.Fatalf("%+v", sum)
		}
	}
}
