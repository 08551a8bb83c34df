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
	f.make(imagetree.Sample{Product: ubuntu, Version: v2, Sums: true})
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

// TestSumsOfDeltas holds that no delta is listed that contradicts the checksums: where
// they are signed they stay, and otherwise they are made to fit.
func TestSumsOfDeltas(t *testing.T) {
	wrong := sha256Hex("another delta") + "  " + rootDelta + "\n"
	tests := []struct {
		summary string
		signed  bool
		edit    func(f *fixture) // after a first build
		listed  bool
		fails   int
	}{{
		summary: "the sums are signed with the wrong entry later", signed: true,
		edit:  func(f *fixture) { f.write(dir(v2)+"SHA256SUMS", f.read(dir(v2)+"SHA256SUMS")+wrong) },
		fails: 1,
	}, {
		summary: "and the tool has forgotten all", signed: true,
		edit: func(f *fixture) {
			f.write(dir(v2)+"SHA256SUMS", f.read(dir(v2)+"SHA256SUMS")+wrong)
			f.remove("streams")
		},
		fails: 1,
	}, {
		summary: "and the delta is not there", signed: true,
		edit: func(f *fixture) {
			f.write(dir(v2)+"SHA256SUMS", f.read(dir(v2)+"SHA256SUMS")+wrong)
			f.remove(dir(v2) + rootDelta)
		},
	}, {
		summary: "and the delta that is not there is the one that would be made", signed: true,
		edit: func(f *fixture) {
			f.write(dir(v2)+"SHA256SUMS", f.read(dir(v2)+"SHA256SUMS")+sha256Hex(f.read(dir(v2)+rootDelta))+"  "+rootDelta+"\n")
			f.remove(dir(v2) + rootDelta)
		},
		listed: true,
	}, {
		summary: "the entry of sums that nobody signed",
		edit:    func(f *fixture) { f.write(dir(v2)+"SHA256SUMS", f.read(dir(v2)+"SHA256SUMS")+wrong) },
		listed:  true,
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			f := newFixture(t, versions(ubuntu, v1)...)
			f.make(imagetree.Sample{Product: ubuntu, Version: v2, Sums: true})
			if test.signed {
				f.write(dir(v2)+"SHA256SUMS.asc", "signature")
			}
			f.build()
			test.edit(f)
			before := f.read(dir(v2) + "SHA256SUMS")
			for range 2 {
				sum := f.build()
				if slices.Contains(f.items(v2), rootDelta) != test.listed || sum.DeltaFails != test.fails {
					t.Errorf("%v %+v\n%s", f.items(v2), sum, &f.log)
				}
			}
			if after := f.read(dir(v2) + "SHA256SUMS"); (after == before) != test.signed {
				t.Errorf("sums: %s", after)
			}
			f.verify()
		})
	}
}
