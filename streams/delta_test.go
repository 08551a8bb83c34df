package streams_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
	"imagebuilder/streams/inventory"
)

const (
	rootDelta = "rootfs." + v1 + ".vcdiff"
	diskDelta = "disk." + v1 + ".qcow2.vcdiff"
)

// TestFingerprints holds that the combined hashes are those of the metadata followed
// by the root file system, for large files too, whose hashes are made side by side.
func TestFingerprints(t *testing.T) {
	f := newFixture(t, imagetree.Sample{Product: ubuntu, Version: v1, Size: 9 << 20,
		Files: []string{"lxd.tar.xz", "incus.tar.xz", "rootfs.squashfs", "disk.qcow2", "root.tar.xz", "uefi1.img"},
		Extra: map[string]string{"incus.tar.xz": "another tarball"}})
	f.build()
	v := f.products("images")[ubuntuID].Versions[v1]
	if images := v.Images(); len(images) != 8 {
		t.Errorf("%d images", len(images))
	}
	for _, image := range v.Images() {
		both := f.read(v.Items[image.Meta].Path) + f.read(v.Items[image.Root].Path)
		if want := fmt.Sprintf("%x", sha256.Sum256([]byte(both))); image.Fingerprint != want {
			t.Errorf("%s and %s: %s", image.Meta, image.Root, image.Fingerprint)
		}
	}
}

// TestDeltas holds which deltas are made and listed.
func TestDeltas(t *testing.T) {
	always := func(o *streams.BuildOptions) { o.Deltas.Disks = inventory.DiskDeltasAlways }
	tests := []struct {
		summary string
		images  []imagetree.Sample
		edit    func(o *streams.BuildOptions)
		deltas  []string // listed, of the last version
		made    int
	}{{
		summary: "a VM disk gets none if Incus could apply it to the container",
		images:  versions(ubuntu, v1, v2),
		deltas:  []string{rootDelta}, made: 1,
	}, {
		summary: "unless it is wanted",
		images:  versions(ubuntu, v1, v2), edit: always,
		deltas: []string{diskDelta, rootDelta}, made: 2,
	}, {
		summary: "or there is no container",
		images: []imagetree.Sample{
			{Product: ubuntu, Version: v1, Files: []string{"lxd.tar.xz", "disk.qcow2"}},
			{Product: ubuntu, Version: v2, Files: []string{"lxd.tar.xz", "disk.qcow2"}},
		},
		deltas: []string{diskDelta}, made: 1,
	}, {
		summary: "or it is never wanted",
		images: []imagetree.Sample{
			{Product: ubuntu, Version: v1, Files: []string{"lxd.tar.xz", "disk.qcow2"}},
			{Product: ubuntu, Version: v2, Files: []string{"lxd.tar.xz", "disk.qcow2"}},
		},
		edit: func(o *streams.BuildOptions) { o.Deltas.Disks = inventory.DiskDeltasNever },
	}, {
		summary: "the version before is the one that can be listed",
		images: append(versions(ubuntu, v1, v4), imagetree.Sample{Product: ubuntu, Version: v2, Files: []string{"rootfs.squashfs"}},
			imagetree.Sample{Product: ubuntu, Version: "." + v3}),
		deltas: []string{rootDelta}, made: 1,
	}, {
		summary: "a base that has another name",
		images: []imagetree.Sample{
			{Product: ubuntu, Version: v1, Files: []string{"lxd.tar.xz", "other.squashfs"}},
			{Product: ubuntu, Version: v2},
		},
	}, {
		summary: "nothing in common",
		images: []imagetree.Sample{
			{Product: ubuntu, Version: v1},
			{Product: ubuntu, Version: v2, Extra: map[string]string{"rootfs.squashfs": strings.Repeat("hsqs", 2)}},
		},
	}, {
		summary: "only versions that will be kept",
		images:  versions(ubuntu, v1, v2, v3, v4),
		edit:    func(o *streams.BuildOptions) { o.Deltas.Retain.Builds = 2 },
		deltas:  []string{"rootfs." + v3 + ".vcdiff"}, made: 1,
	}, {
		summary: "no version is kept that long",
		images:  versions(ubuntu, v1, v2, v3),
		edit:    func(o *streams.BuildOptions) { o.Deltas.Retain.Days = 3 },
	}, {
		summary: "none are wanted",
		images:  versions(ubuntu, v1, v2), edit: noDeltas,
	}, {
		summary: "a version name with dots",
		images:  versions(ubuntu, "20240101.1", "20240102.1"),
		deltas:  []string{"rootfs.20240101.1.vcdiff"}, made: 1,
	}, {
		summary: "numbers count as numbers, if that is wanted",
		images:  versions(ubuntu, "20240101-9", "20240101-10"),
		edit:    func(o *streams.BuildOptions) { o.NaturalOrder = true },
		deltas:  []string{"rootfs.20240101-9.vcdiff"}, made: 1,
	}, {
		summary: "equal files",
		images: []imagetree.Sample{
			{Product: ubuntu, Version: v1, Same: true}, {Product: ubuntu, Version: v2, Same: true},
		},
		deltas: []string{rootDelta}, made: 1,
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			f := newFixture(t, test.images...)
			edit := func(o *streams.BuildOptions) {
				if test.edit != nil {
					test.edit(o)
				}
			}
			sum := f.build(edit)
			last := f.listed()[len(f.listed())-1]
			if strings.Contains(last, "-9") {
				last = "20240101-10"
			}
			deltas := slices.DeleteFunc(f.items(last), func(name string) bool { return !strings.HasSuffix(name, ".vcdiff") })
			if !slices.Equal(deltas, test.deltas) || sum.Deltas != test.made || sum.Err() != nil {
				t.Errorf("deltas %v, %+v\n%s", deltas, sum, &f.log)
			}
			f.verify()
			if sum := f.build(edit); sum.Deltas+sum.Undelta+len(sum.Published) != 0 {
				t.Errorf("again: %+v", sum)
			}
		})
	}
}

// TestDeltaDecisions holds that what was found out about deltas is not found out again
// and again, and that what is on the disk is believed only after it was decoded.
func TestDeltaDecisions(t *testing.T) {
	tests := []struct {
		summary string
		edit    func(f *fixture)
		listed  bool
		made    int
		runs    bool // xdelta3 is needed
	}{{
		summary: "nothing has changed",
		edit:    func(f *fixture) {}, listed: true,
	}, {
		summary: "the tool has forgotten all",
		edit:    func(f *fixture) { f.remove("streams/.state") }, listed: true, runs: true,
	}, {
		summary: "a delta was cut off",
		edit:    func(f *fixture) { f.write(dir(v2)+rootDelta, f.read(dir(v2) + rootDelta)[:50]) }, listed: true, made: 1, runs: true,
	}, {
		summary: "a delta is something else, and the tool has forgotten all",
		edit: func(f *fixture) {
			f.write(dir(v2)+rootDelta, "left over\n")
			f.remove("streams")
		},
		listed: true, made: 1, runs: true,
	}, {
		summary: "a delta is gone",
		edit:    func(f *fixture) { f.remove(dir(v2) + rootDelta) }, listed: true, made: 1, runs: true,
	}, {
		summary: "a version between",
		edit:    func(f *fixture) { f.make(versions(ubuntu, "20240101_1200")...) }, made: 2, runs: true,
	}, {
		summary: "a crash left an unfinished one",
		edit: func(f *fixture) {
			f.write(dir(v2)+"."+rootDelta+".tmp", "half")
			f.remove(dir(v2) + rootDelta)
		},
		listed: true, made: 1, runs: true,
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			f := newFixture(t, versions(ubuntu, v1, v2)...)
			f.build()
			test.edit(f)
			if !test.runs {
				t.Setenv("PATH", "/nowhere")
			}
			sum := f.build()
			if sum.Deltas != test.made || sum.DeltaFails > 0 || slices.Contains(f.items(v2), rootDelta) != test.listed {
				t.Errorf("%v %+v\n%s", f.items(v2), sum, &f.log)
			}
			if f.exists(dir(v2) + "." + rootDelta + ".tmp") {
				t.Error("the unfinished one is still there")
			}
			if test.runs {
				f.verify()
			}
		})
	}
}

// TestDeltaNotWorth holds that a delta which is too large is not listed, not kept and
// not made again.
func TestDeltaNotWorth(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2)...)
	strict := func(o *streams.BuildOptions) { o.Deltas.MaxShare = 0.01 }
	if sum := f.build(strict); sum.Undelta != 1 || sum.Deltas != 0 || f.exists(dir(v2)+rootDelta) {
		t.Errorf("%+v", sum)
	}
	f.make(imagetree.Sample{Product: "other/x/amd64/y", Version: v1})
	if sum := f.build(strict); sum.Undelta != 0 || sum.Added != 1 {
		t.Errorf("again: %+v", sum)
	}
	if sum := f.build(); sum.Deltas != 1 {
		t.Errorf("with another limit: %+v", sum)
	}
	f.remove("streams/.state")
	if sum := f.build(strict); slices.Contains(f.items(v2), rootDelta) || sum.Undelta != 1 {
		t.Errorf("one that is there and not known: %+v", sum)
	}
	f.verify()
}

// TestNoXdelta holds that a missing program is said once, keeps nothing from being
// published and is noticed when it is there.
func TestNoXdelta(t *testing.T) {
	f := newFixture(t, append(versions(ubuntu, v1, v2, v3), versions("other/x/amd64/y", v1, v2)...)...)
	path := os.Getenv("PATH")
	t.Setenv("PATH", "/nowhere")
	for range 2 {
		sum := f.build()
		if sum.DeltaFails != 3 || sum.Err() == nil || strings.Count(f.log.String(), "Failed creating delta file") != 1 || len(f.listed()) != 3 {
			t.Errorf("%+v\n%s", sum, &f.log)
		}
	}
	t.Setenv("PATH", path)
	if sum := f.build(); sum.Deltas != 3 {
		t.Errorf("%+v", sum)
	}
	f.verify()
}

// TestFailingXdelta holds that whatever xdelta3 does, no bad delta is published and
// nothing is left of it.
func TestFailingXdelta(t *testing.T) {
	tests := []struct{ summary, script, said string }{
		{"it fails", "echo no >&2; echo really >&2; exit 1", "exit status 1: no; really"},
		{"it fails after it has written", "echo half > /dev/fd/5; exit 1", "exit status 1"},
		{"it writes nonsense and says nothing", `case "$*" in *-V*) ;; *) echo nonsense > /dev/fd/5;; esac`, ""},
		{"it writes nothing", "exit 0", ""},
		{"it is killed", "kill -9 $$", "signal: killed"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			bin := t.TempDir()
			script := "#!/bin/sh\ncase \"$*\" in -V) exit 0;; esac\n" + test.script + "\n"
			if err := os.WriteFile(filepath.Join(bin, "xdelta3"), []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			path := os.Getenv("PATH")
			t.Setenv("PATH", bin+":"+path)
			f := newFixture(t, versions(ubuntu, v1, v2)...)
			sum := f.build()
			if test.said != "" && !f.said("Failed creating delta file", test.said) {
				t.Errorf("what xdelta3 said is lost:\n%s", &f.log)
			}
			if sum.DeltaFails != 1 || len(f.items(v2)) != 4 || !f.said("Failed creating delta file", "item="+rootDelta) {
				t.Errorf("%+v\n%s", sum, &f.log)
			}
			if left, _ := os.ReadDir(f.path(dir(v2))); len(left) != 3 {
				t.Errorf("left over: %v", left)
			}
			t.Setenv("PATH", path)
			f.build()
			if !slices.Contains(f.items(v2), rootDelta) {
				t.Errorf("items: %v", f.items(v2))
			}
			f.verify()
		})
	}
}

// TestDeltaSums holds that deltas are entered into SHA256SUMS, unless that is signed,
// and that their entries go with them.
func TestDeltaSums(t *testing.T) {
	for _, signed := range []bool{false, true} {
		f := newFixture(t, imagetree.Sample{Product: ubuntu, Version: v1, Sums: true}, imagetree.Sample{Product: ubuntu, Version: v2, Sums: true},
			imagetree.Sample{Product: ubuntu, Version: v3, Sums: true})
		if signed {
			f.write(dir(v3)+"SHA256SUMS.gpg", "signature")
		}
		before := f.read(dir(v3) + "SHA256SUMS")
		f.build()
		name := "rootfs." + v2 + ".vcdiff"
		after := f.read(dir(v3) + "SHA256SUMS")
		want := before
		if !signed {
			want += fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(f.read(dir(v3)+name))), name)
		}
		if after != want {
			t.Errorf("signed %v: %s", signed, after)
		}
		if sum := f.build(); sum.Read > 0 || sum.Err() != nil {
			t.Errorf("signed %v: again: %+v", signed, sum)
		}
		f.prune(retain(1), atOnce)
		if f.exists(dir(v3)+name) || f.read(dir(v3)+"SHA256SUMS") != before {
			t.Errorf("signed %v: after prune: %s", signed, f.read(dir(v3)+"SHA256SUMS"))
		}
		if sum := f.build(); sum.Err() != nil || len(sum.Published) > 0 {
			t.Errorf("signed %v: build after prune: %+v", signed, sum)
		}
		f.verify()
	}
}

// TestDeltaWithheld holds that deltas are made between the versions that are listed, also
// if what is not is so because of another product.
func TestDeltaWithheld(t *testing.T) {
	cloud := "ubuntu/noble/amd64/cloud"
	f := newFixture(t, versions(ubuntu, v1, v3)...)
	for _, product := range []string{cloud, ubuntu} {
		f.make(imagetree.Sample{Product: product, Version: v2, Same: true, Extra: map[string]string{"lxd.tar.xz": "meta"}})
		for _, name := range []string{"rootfs.squashfs", "disk.qcow2"} {
			f.write("images/"+product+"/"+v2+"/"+name, strings.Repeat("the same ", 1000))
		}
	}
	for range 2 {
		f.build()
		if !slices.Equal(f.listed(), []string{v1, v3}) {
			t.Fatalf("listed: %v", f.listed())
		}
		if !f.exists(dir(v3)+"rootfs."+v1+".vcdiff") || !slices.Contains(f.items(v3), "rootfs."+v1+".vcdiff") {
			t.Errorf("there is no delta: %v\n%s", f.items(v3), &f.log)
		}
		if f.exists(dir(v3)+"rootfs."+v2+".vcdiff") || f.exists(dir(v2)+"rootfs."+v1+".vcdiff") {
			t.Error("a delta was made that cannot be listed")
		}
	}
	f.verify()
}
