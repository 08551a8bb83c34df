package streams_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"imagebuilder/streams"
)

// TestVerifyNoXdelta holds that a missing xdelta3 is said once and by the exit status,
// and that a repair leaves the deltas alone that nobody can judge.
func TestVerifyNoXdelta(t *testing.T) {
	for _, summary := range []string{"nothing else is wrong", "something else is"} {
		t.Run(summary, func(t *testing.T) {
			f := newFixture(t, versions(ubuntu, v1, v2, v3)...)
			f.build()
			if summary == "something else is" {
				f.remove("streams/v1/index.json.gz")
			}
			path := os.Getenv("PATH")
			t.Setenv("PATH", "/nowhere")
			report, err := streams.Verify(context.Background(), streams.VerifyOptions{Site: f.tree(), Repair: true})
			if err != nil || report.Err() == nil {
				t.Errorf("%+v %v", report, err)
			}
			unchecked := slices.DeleteFunc(slices.Clone(report.Faults), func(f streams.Fault) bool { return f.Repaired })
			if len(unchecked) != 1 || unchecked[0].Kind != "unchecked" || !strings.Contains(unchecked[0].Problem, "xdelta3") {
				t.Errorf("faults: %+v", report.Faults)
			}
			if !slices.Contains(f.items(v2), rootDelta) || !slices.Contains(f.items(v3), "rootfs."+v2+".vcdiff") {
				t.Errorf("listed: %v %v", f.items(v2), f.items(v3))
			}
			t.Setenv("PATH", path)
			f.verify()
		})
	}
}

// TestVerifyLinks holds that what was listed through links is checked through them.
func TestVerifyLinks(t *testing.T) {
	f := newFixture(t, versions(ubuntu, v1)...)
	f.make(versions("shared/x/amd64/y", v2)...)
	f.write(dir(v3)+"lxd.tar.xz", "metadata")
	f.symlink("../../../../../shared/x/amd64/y/"+v2+"/rootfs.squashfs", dir(v3)+"rootfs.squashfs")
	f.build(noDeltas, func(o *streams.BuildOptions) { o.Links = true })
	if got := f.items(v3); !slices.Contains(got, "rootfs.squashfs") {
		t.Fatalf("items: %v", got)
	}
	tree := f.tree()
	tree.Links = true
	report, err := streams.Verify(context.Background(), streams.VerifyOptions{Site: tree})
	if err != nil || report.Err() != nil {
		t.Errorf("%+v %v", report, err)
	}
}
