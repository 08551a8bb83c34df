package streams_test

import (
	"strings"
	"testing"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
	"imagebuilder/streams/page"
)

// TestPrunePageWithoutCatalog holds that a stream which is only in the index is left off
// the page, and stops no prune of another one.
func TestPrunePageWithoutCatalog(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2)...)
	f.make(imagetree.Sample{Stream: "daily", Product: ubuntu, Version: v3})
	f.build(twoStreams, func(o *streams.BuildOptions) { o.Page = new(page.Setup) })
	f.remove("streams/v1/daily.json")
	if sum := f.prune(retain(1)); sum.Dropped != 1 || !f.said("Stream is left off the web page", "daily.json") {
		t.Errorf("%+v\n%s", sum, &f.log)
	}
	if text := f.read("index.html"); strings.Contains(text, v1) || strings.Contains(text, v3) || !strings.Contains(text, v2) {
		t.Errorf("page: %s", text)
	}
	if !strings.Contains(f.read("streams/v1/index.json"), `"daily"`) {
		t.Error("the index has lost the stream")
	}
}

// TestPruneIndexDamaged holds that streams are not lost from an index that cannot be read.
func TestPruneIndexDamaged(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2)...)
	f.make(imagetree.Sample{Stream: "daily", Product: ubuntu, Version: v3})
	f.build(twoStreams)
	f.write("streams/v1/index.json", "{")
	_, err := f.tryPrune(retain(1))
	if err == nil || !strings.Contains(err.Error(), "cannot read") || !strings.Contains(err.Error(), "build of all streams makes it anew") {
		t.Errorf("got %v", err)
	}
	if len(f.listed()) != 2 || f.read("streams/v1/index.json") != "{" {
		t.Error("something was changed")
	}
	f.build(twoStreams)
	if f.prune(retain(1)); len(f.listed()) != 1 {
		t.Errorf("listed: %v", f.listed())
	}
	f.verify()
}
