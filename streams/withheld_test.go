package streams_test

import (
	"testing"
	"time"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
)

const daily = "daily/" + ubuntu + "/"

// twoStreams makes a build of both streams.
func twoStreams(o *streams.BuildOptions) {
	noDeltas(o)
	o.Streams = []string{"images", "daily"}
}

// newTwins makes a tree with a second stream that has the images of the first.
func newTwins(t *testing.T) *fixture {
	f := newFixture(t)
	for _, stream := range []string{"images", "daily"} {
		for i, version := range []string{v1, v2} {
			f.make(imagetree.Sample{Stream: stream, Product: ubuntu, Version: version, Same: true, Size: 4096 + i})
		}
	}
	return f
}

// TestBuildWithheld holds that versions which are not listed because their images are
// elsewhere are not taken for dropped, nor for new at each build, until they are listed.
func TestBuildWithheld(t *testing.T) {
	f := newTwins(t)
	first := f.build(twoStreams)
	if first.Versions != 2 || first.Duplicates != 4 {
		t.Fatalf("%+v\n%s", first, &f.log)
	}
	sum := f.build(twoStreams)
	if sum.Dropped+sum.Added+len(sum.Published) > 0 || sum.Versions != 2 || f.said("Dropping", "") {
		t.Errorf("again: %+v\n%s", sum, &f.log)
	}
	f.remove(dir(v1))
	sum = f.build(twoStreams)
	if sum.Dropped != 1 || sum.Added != 1 || sum.Versions != 2 || !f.said("New version added", "streamName=daily") {
		t.Errorf("without a twin: %+v\n%s", sum, &f.log)
	}
	f.verify()
}

// TestPruneWithheld holds that what a build keeps back on purpose is not dangling, also
// after a build of other streams, and that nothing complete is while that is not known.
func TestPruneWithheld(t *testing.T) {
	tests := []struct {
		summary string
		edit    func(f *fixture)
	}{
		{"as it was built", func(*fixture) {}},
		{"another stream was built since", func(f *fixture) { f.build(noDeltas) }},
		{"the state was lost", func(f *fixture) { f.remove("streams/.state") }},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			f := newTwins(t)
			f.make(imagetree.Sample{Stream: "daily", Product: ubuntu, Version: v3})
			f.make(imagetree.Sample{Stream: "daily", Product: ubuntu, Version: "." + v4})
			f.build(twoStreams)
			f.age("daily", 100*time.Hour)
			test.edit(f)
			sum := f.prune(func(o *streams.PruneOptions) { o.Streams, o.Dangling, o.Force = []string{"daily"}, true, true })
			if !f.exists(daily+v1) || !f.exists(daily+v2) || !f.exists(daily+v3) {
				t.Errorf("%+v\n%s", sum, &f.log)
			}
			if f.exists(daily + "." + v4) {
				t.Error("what is dangling is still there")
			}
		})
	}
}
