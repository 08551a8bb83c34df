package streams_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
	"imagebuilder/streams/page"
)

// TestBuildSafetyRejected holds that versions which are there but not good any more are
// no sign of a tree that is not mounted.
func TestBuildSafetyRejected(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1)...)
	f.make(imagetree.Sample{Stream: "daily", Product: ubuntu, Version: v3, Sums: true})
	f.make(imagetree.Sample{Stream: "daily", Product: ubuntu, Version: v4})
	f.build(twoStreams)
	f.write(daily+v3+"/SHA256SUMS", strings.Repeat("0", 64)+"  disk.qcow2\n")
	f.remove(daily + v4 + "/lxd.tar.xz")
	f.make(versions(ubuntu, v2)...)
	sum := f.build(twoStreams)
	if sum.Added != 1 || sum.Dropped != 2 || sum.Rejected != 1 || !slices.Equal(f.listed(), []string{v1, v2}) {
		t.Errorf("%v %+v\n%s", f.listed(), sum, &f.log)
	}
	if p := f.products("daily")[ubuntuID]; p == nil || len(p.Versions) > 0 {
		t.Errorf("%+v", p)
	}
	f.verify()
}

// TestBuildSafetyOthers holds that a stream which is refused stays as it is listed, and
// keeps no other from being built.
func TestBuildSafetyOthers(t *testing.T) {
	for _, index := range []bool{true, false} {
		f := newFixture(t, versions(ubuntu, v1)...)
		f.make(imagetree.Sample{Stream: "daily", Product: ubuntu, Version: v3})
		withPage := func(o *streams.BuildOptions) { twoStreams(o); o.Page = new(page.Setup) }
		f.build(withPage)
		before := f.read("streams/v1/daily.json")
		f.remove("daily/ubuntu")
		f.make(versions(ubuntu, v2)...)
		if !index {
			f.remove("streams/v1/index.json")
		}
		for range 2 { // it is not forgotten either
			_, err := f.tryBuild(withPage)
			if !errors.Is(err, streams.ErrRefused) || !strings.Contains(err.Error(), "1 of the 1 versions of stream daily") {
				t.Fatalf("got %v", err)
			}
			if !slices.Equal(f.listed(), []string{v1, v2}) || f.read("streams/v1/daily.json") != before {
				t.Errorf("listed: %v", f.listed())
			}
			if text := f.read("streams/v1/index.json"); strings.Count(text, ubuntuID) != 2 || !strings.Contains(text, `"daily"`) {
				t.Errorf("index: %s", text)
			}
		}
		sum := f.build(withPage, func(o *streams.BuildOptions) { o.Force = true })
		if sum.Dropped != 1 || f.read("streams/v1/daily.json") == before {
			t.Errorf("%+v", sum)
		}
		f.verify()
	}
}

// TestBuildForeign holds that what another tool has listed is not lost to a build.
func TestBuildForeign(t *testing.T) {
	const foreign = `{"content_id":"images","format":"products:1.0","datatype":"image-downloads","products":{` +
		`"antifob:v1:arm64":{"arch":"arm64","versions":{"20240101_0000":{"items":{}}}}}}`
	f := newFixture(t, versions(ubuntu, v1)...)
	f.write("streams/v1/images.json", foreign)
	for range 2 {
		_, err := f.tryBuild()
		if !errors.Is(err, streams.ErrRefused) || !strings.Contains(err.Error(), `drop product "antifob:v1:arm64" of stream images`) {
			t.Fatalf("got %v", err)
		}
		if f.read("streams/v1/images.json") != foreign {
			t.Fatal("the catalog has changed")
		}
	}
	if f.build(func(o *streams.BuildOptions) { o.Force = true }); !slices.Equal(f.listed(), []string{v1}) {
		t.Errorf("listed: %v", f.listed())
	}
	f.build()
}

// TestBuildDamagedProduct holds that a product of the tree is listed again, however it was
// listed.
func TestBuildDamagedProduct(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1)...)
	f.build()
	f.write("streams/v1/images.json", strings.Replace(f.read("streams/v1/images.json"), "images/ubuntu", "images/other", 1))
	if f.build(); !slices.Equal(f.listed(), []string{v1}) {
		t.Errorf("listed: %v", f.listed())
	}
	f.verify()
}
