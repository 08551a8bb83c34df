package streams_test

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"imagebuilder/streams"
)

// TestBuildAgain holds that a build without changes writes nothing that is published,
// and that each change is noticed.
func TestBuildAgain(t *testing.T) {
	tests := []struct {
		summary   string
		edit      func(f *fixture)
		published bool
		check     func(f *fixture, sum streams.BuildSummary) bool
	}{{
		summary: "nothing",
		edit:    func(f *fixture) {},
		check:   func(f *fixture, sum streams.BuildSummary) bool { return sum.Unchanged && sum.Versions == 2 },
	}, {
		summary: "a new version",
		edit:    func(f *fixture) { f.make(versions(ubuntu, v3)...) }, published: true,
		check: func(f *fixture, sum streams.BuildSummary) bool {
			return sum.Added == 1 && f.said("New version added", "version="+v3)
		},
	}, {
		summary: "a file of another size",
		edit:    func(f *fixture) { f.write(dir(v2)+"disk.qcow2", "QFI\xfbnew") }, published: true,
		check: func(f *fixture, sum streams.BuildSummary) bool { return sum.Read > 0 && sum.Added == 0 },
	}, {
		summary: "a file of the same size, replaced by another with its time",
		edit: func(f *fixture) {
			text := f.read(dir(v2) + "disk.qcow2")
			f.write(dir(v2)+"new", strings.ToUpper(text))
			st, _ := os.Stat(f.path(dir(v2) + "disk.qcow2"))
			os.Chtimes(f.path(dir(v2)+"new"), st.ModTime(), st.ModTime())
			os.Rename(f.path(dir(v2)+"new"), f.path(dir(v2)+"disk.qcow2"))
		}, published: true,
		check: func(f *fixture, sum streams.BuildSummary) bool { return sum.Read > 0 },
	}, {
		summary: "a version that is gone",
		edit:    func(f *fixture) { f.remove(dir(v1)) }, published: true,
		check: func(f *fixture, sum streams.BuildSummary) bool {
			return sum.Dropped == 1 && f.said("Dropping stale product version", v1)
		},
	}, {
		summary: "a version that has lost its metadata",
		edit:    func(f *fixture) { f.remove(dir(v1) + "lxd.tar.xz") }, published: true,
		check: func(f *fixture, sum streams.BuildSummary) bool { return sum.Dropped == 1 && sum.Incomplete == 1 },
	}, {
		summary: "a configuration",
		edit:    func(f *fixture) { f.write(dir(v2)+"image.yaml", "simplestream: {distro_name: Other}") }, published: true,
		check: func(f *fixture, sum streams.BuildSummary) bool { return f.products("images")[ubuntuID].OS == "Other" },
	}, {
		summary: "requirements above",
		edit:    func(f *fixture) { f.write("images/ubuntu/.requirements", `{"secureboot":false}`) }, published: true,
		check: func(f *fixture, sum streams.BuildSummary) bool {
			p := f.products("images")[ubuntuID] // whose second list is the only one that LXD 5.0 reads
			return p.Requirements["secureboot"] == "false" && p.LXDRequirements["secureboot"] == "false"
		},
	}, {
		summary: "requirements that cannot be read",
		edit:    func(f *fixture) { f.write("images/ubuntu/.requirements", `[]`) },
		check: func(f *fixture, sum streams.BuildSummary) bool {
			again := f.build(noDeltas)
			return sum.Failed == 1 && again.Failed == 1 && f.said("Failed to read configuration", ".requirements")
		},
	}, {
		summary: "a file of no concern",
		edit:    func(f *fixture) { f.write(dir(v1)+"build.log", "x") },
		check:   func(f *fixture, sum streams.BuildSummary) bool { return sum.Unchanged },
	}, {
		summary: "the catalog, by somebody else",
		edit:    func(f *fixture) { f.write("streams/v1/images.json", "{}") }, published: true,
		check: func(f *fixture, sum streams.BuildSummary) bool { return len(f.listed()) == 2 },
	}, {
		summary: "a compressed form",
		edit:    func(f *fixture) { f.write("streams/v1/images.json.gz", "x") }, published: true,
		check: func(f *fixture, sum streams.BuildSummary) bool { return len(sum.Published) == 1 },
	}, {
		summary: "the index is gone",
		edit:    func(f *fixture) { f.remove("streams/v1/index.json") }, published: true,
		check: func(f *fixture, sum streams.BuildSummary) bool { return f.exists("streams/v1/index.json") },
	}, {
		summary: "all that the tool remembers is gone",
		edit:    func(f *fixture) { f.remove("streams/.state") },
		check:   func(f *fixture, sum streams.BuildSummary) bool { return sum.Read > 0 && !sum.Unchanged },
	}, {
		summary: "the memory is damaged",
		edit: func(f *fixture) {
			data := []byte(f.read("streams/.state/images.cache"))
			data[len(data)/2] ^= 1
			f.write("streams/.state/images.cache", string(data))
			f.write("streams/.state/leaving.json", "null")
			f.write("streams/.state/v1.record", "{")
		},
		check: func(f *fixture, sum streams.BuildSummary) bool { return sum.Read > 0 },
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			f := newFixture(t, versions(ubuntu, v1, v2)...)
			f.build(noDeltas)
			before := f.stamps()
			f.now = f.now.Add(time.Hour)
			test.edit(f)
			sum := f.build(noDeltas)
			if len(sum.Published) > 0 != test.published {
				t.Errorf("published: %v", sum.Published)
			}
			if !test.published && !slices.Equal(before, f.stamps()) {
				t.Errorf("files were touched:\n%v\n%v", before, f.stamps())
			}
			if !test.check(f, sum) {
				t.Errorf("%+v\n%s", sum, &f.log)
			}
			if strings.Contains(f.read("streams/v1/index.json"), "T01:00:00Z") != (test.published && len(sum.Published) > 1) {
				t.Errorf("index: %s", f.read("streams/v1/index.json"))
			}
			f.verify()
		})
	}
}

// stamps tells the states of the published files.
func (f *fixture) stamps() []string {
	f.Helper()
	entries, err := os.ReadDir(f.path("streams/v1"))
	if err != nil {
		f.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		st, err := e.Info()
		if err != nil {
			f.Fatal(err)
		}
		list = append(list, e.Name()+st.ModTime().String())
	}
	return list
}
