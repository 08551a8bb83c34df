package streams_test

import (
	"slices"
	"testing"
	"time"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
)

// TestLeavingReplaced holds that a version which was put back under the name of one that
// is on its way out is a new one: it is listed, and its files are not removed.
func TestLeavingReplaced(t *testing.T) {
	tests := []struct {
		summary string
		putBack func(f *fixture)
	}{{
		summary: "by hand",
		putBack: func(f *fixture) { f.make(versions(ubuntu, v1)...) },
	}, {
		summary: "by add",
		putBack: func(f *fixture) {
			files := built(f.T, map[string]string{"lxd.tar.xz": metaTar(metadataYAML), "rootfs.squashfs": imagetree.Squashfs("rootfs")})
			for _, existed := range []bool{false, true} {
				added, err := f.add(func(o *streams.AddOptions) { o.Files, o.Version = []string{files}, v1 })
				if err != nil || added.Existed != existed || added.Version != v1 {
					f.Errorf("%+v %v", added, err)
				}
			}
		},
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			f := newFixture(t, versions(ubuntu, v1, v2)...)
			f.build(noDeltas)
			if sum := f.prune(retain(1)); sum.Dropped != 1 || sum.Waiting != 1 {
				t.Fatalf("%+v", sum)
			}
			f.remove(dir(v1))
			test.putBack(f)
			f.now = f.now.Add(3 * time.Hour)
			if sum := f.build(noDeltas); sum.Added != 1 || !slices.Equal(f.listed(), []string{v1, v2}) {
				t.Errorf("%v %+v\n%s", f.listed(), sum, &f.log)
			}
			if sum := f.prune(); sum.Removed > 0 || sum.Waiting > 0 || !f.exists(dir(v1)) {
				t.Errorf("%+v\n%s", sum, &f.log)
			}
		})
	}
}

// TestLeavingStreamVersion holds that no stream version is in the way of the state.
func TestLeavingStreamVersion(t *testing.T) {
	for _, name := range []string{"leaving", "leaving.json", "lock", "images", "images.cache"} {
		f := newFixture(t, versions(ubuntu, v1, v2)...)
		other := func(o *streams.BuildOptions) { noDeltas(o); o.StreamVersion = name }
		f.build(noDeltas)
		f.prune(retain(1))
		f.build(other)
		if sum := f.build(other); !sum.Unchanged {
			t.Errorf("%s: %+v", name, sum)
		}
		if f.build(noDeltas); !slices.Equal(f.listed(), []string{v2}) {
			t.Errorf("%s: what leaves is forgotten: %v", name, f.listed())
		}
	}
}

// TestLeavingOld holds that a state without identities still counts.
func TestLeavingOld(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1, v2)...)
	f.build(noDeltas)
	f.prune(retain(1))
	f.write("streams/.state/leaving.json", `{"images/`+ubuntu+"/"+v1+`":"2024-01-01T00:00:00Z"}`)
	if sum := f.prune(retain(1)); sum.Removed != 1 || f.exists(dir(v1)) {
		t.Errorf("%+v", sum)
	}
}
