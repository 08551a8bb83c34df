package streams_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
)

// The catalogs of other tools: no word that publishes loses them, and the words that only look
// see what clients see.

// foreignSite is a site as incus-simplestreams keeps it: flat, without distro, ids in another
// order, a container and a unified virtual machine.
func foreignSite(t *testing.T) *fixture {
	f := newFixture(t)
	meta, root := "metadata", "root file system"
	f.write("images/a.incus.tar.xz", meta)
	f.write("images/a.squashfs", root)
	f.write("images/b.incus_combined.tar.gz", "all in one")
	item := func(name, ftype, content, more string) string {
		return fmt.Sprintf(`%q:{"ftype":%q,"path":"images/%s","sha256":"%s","size":%d%s}`, ftype, ftype, name, sha256Hex(content), len(content), more)
	}
	f.write("streams/v1/images.json", `{"content_id":"images","format":"products:1.0","datatype":"image-downloads","products":{`+
		`"debian:13:default:amd64":{"aliases":"debian/13/default","arch":"amd64","os":"debian","release":"13","release_title":"13","variant":"default","requirements":{},`+
		`"versions":{"202601020304":{"items":{`+
		item("a.incus.tar.xz", "incus.tar.xz", meta, fmt.Sprintf(`,"combined_squashfs_sha256":"%x"`, sha256.Sum256([]byte(meta+root))))+`,`+
		item("a.squashfs", "squashfs", root, "")+`}},`+
		`"202601030304":{"items":{`+item("b.incus_combined.tar.gz", "incus_combined.tar.gz", "all in one", `,"combined_type":"virtual-machine"`)+`}}}}}}`)
	f.write("streams/v1/index.json", `{"format":"index:1.0","index":{"images":{"datatype":"image-downloads","path":"streams/v1/images.json",`+
		`"format":"products:1.0","products":["debian:13:default:amd64"]}}}`)
	return f
}

func TestForeignSeen(t *testing.T) {
	f := foreignSite(t)
	f.verify()
	images, err := streams.List(context.Background(), streams.ListOptions{Site: f.tree()})
	if err != nil || len(images) != 2 {
		t.Fatalf("%+v %v", images, err)
	}
	vm, container := images[0], images[1]
	if vm.Type != "virtual-machine" || vm.Fingerprint != sha256Hex("all in one") || vm.Size != 10 ||
		container.Type != "container" || container.Path != "images" || !slices.Equal(container.Clients, []string{"incus"}) {
		t.Errorf("%+v", images)
	}
	f.write("images/a.squashfs", "root file sYstem")
	f.remove("images/b.incus_combined.tar.gz")
	var faults []string
	for _, fault := range f.faults() {
		faults = append(faults, string(fault.Kind)+" "+fault.Path)
	}
	want := []string{"combined images/a.incus.tar.xz", "content images/a.squashfs", "missing images/b.incus_combined.tar.gz"}
	if !slices.Equal(faults, want) {
		t.Errorf("got  %q\nwant %q", faults, want)
	}
}

// TestForeignKept holds that whatever publishes refuses to lose what another tool has listed,
// in a catalog or in the index, and does so when it is forced.
func TestForeignKept(t *testing.T) {
	words := []struct {
		name string
		run  func(f *fixture, force bool) error
	}{
		{"build", func(f *fixture, force bool) error {
			_, err := f.tryBuild(func(o *streams.BuildOptions) { o.Force = force })
			return err
		}},
		{"build, only looking", func(f *fixture, force bool) error {
			_, err := f.tryBuild(func(o *streams.BuildOptions) { o.Force, o.DryRun = force, true })
			return err
		}},
		{"prune", func(f *fixture, force bool) error {
			_, err := f.tryPrune(func(o *streams.PruneOptions) { o.Force = force; o.MaxDrop = 1 })
			return err
		}},
		{"prune, only looking", func(f *fixture, force bool) error {
			_, err := f.tryPrune(func(o *streams.PruneOptions) { o.Force, o.DryRun = force, true; o.MaxDrop = 1 })
			return err
		}},
		{"repair", func(f *fixture, force bool) error {
			f.write("streams/v1/index.json.gz", "not of the index")
			opts := streams.VerifyOptions{Site: f.tree(), Repair: true, Safety: streams.Safety{Force: force}}
			_, err := streams.Verify(context.Background(), opts)
			return err
		}},
	}
	const entry = `"com.example:released":{"datatype":"image-downloads","path":"streams/v1/com.example.json","format":"products:1.0","products":["x"]},`
	for _, word := range words {
		t.Run(word.name, func(t *testing.T) {
			f := foreignSite(t)
			f.make(imagetree.Sample{Product: ubuntu, Version: v1})
			before := f.published()
			delete(before, "index.json.gz")
			err := word.run(f, false)
			if !errors.Is(err, streams.ErrRefused) || !strings.Contains(err.Error(), `drop product "debian:13:default:amd64" of stream images, which another tool has listed`) {
				t.Fatalf("got %v", err)
			}
			for name, text := range before {
				if f.read("streams/v1/"+name) != text {
					t.Errorf("%s has changed", name)
				}
			}
			if err := word.run(f, true); err != nil {
				t.Errorf("forced: %v", err)
			}
		})
		t.Run(word.name+", a version", func(t *testing.T) {
			f := newFixture(t, versions(ubuntu, v1)...)
			f.build()
			f.replace("streams/v1/images.json", `"versions":{`, `"versions":{"20300101_0000":{"items":{"x":{"ftype":"squashfs","path":"pool/x","size":1,"sha256":"`+sha256Hex("x")+`"}}},`)
			before := f.read("streams/v1/images.json")
			err := word.run(f, false)
			if !errors.Is(err, streams.ErrRefused) || f.read("streams/v1/images.json") != before {
				t.Fatalf("got %v", err)
			}
			if err := word.run(f, true); err != nil {
				t.Errorf("forced: %v", err)
			}
		})
		if strings.Contains(word.name, "looking") || word.name == "prune" {
			continue // the first do not come to the index, and prune keeps it
		}
		t.Run(word.name+", the index", func(t *testing.T) {
			f := newFixture(t, versions(ubuntu, v1)...)
			f.build()
			f.write("streams/v1/com.example.json", "{}")
			f.replace("streams/v1/index.json", `"index":{`, `"index":{`+entry)
			err := word.run(f, false)
			if !errors.Is(err, streams.ErrRefused) || !strings.Contains(err.Error(), `drop "com.example:released", the catalog streams/v1/com.example.json, from the index`) {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(f.read("streams/v1/index.json"), entry) {
				t.Error("the index has changed")
			}
			if err := word.run(f, true); err != nil || strings.Contains(f.read("streams/v1/index.json"), "com.example") {
				t.Errorf("forced: %v", err)
			}
		})
	}
}
