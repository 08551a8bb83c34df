package streams_test

import (
	"os"
	"slices"
	"testing"

	"imagebuilder/streams/imagetree"
)

// TestSumsReplaced holds that a version comes and goes with the form of its checksums.
func TestSumsReplaced(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1)...)
	f.make(imagetree.Image{Product: ubuntu, Version: v2, Sums: true})
	f.build(noDeltas)
	name := dir(v2) + "SHA256SUMS"
	if err := os.Rename(f.path(name), f.path(dir(v2)+"sums")); err != nil {
		t.Fatal(err)
	}
	f.symlink("sums", name)
	for range 2 {
		if sum := f.build(noDeltas); sum.Failed != 1 || slices.Contains(f.listed(), v2) {
			t.Errorf("a link: %v %+v", f.listed(), sum)
		}
	}
	f.remove(name)
	f.write(name, f.read(dir(v2)+"sums"))
	if sum := f.build(noDeltas); sum.Err() != nil || !slices.Contains(f.listed(), v2) {
		t.Errorf("a file: %v %+v", f.listed(), sum)
	}
}
