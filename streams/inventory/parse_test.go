package inventory

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"imagebuilder/builtins/digest"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/site"
)

var configTests = []struct {
	summary string
	text    string
	os      string
	aliases string
	needs   string // requirements of ubuntu noble amd64 default
	unknown string
	err     string
}{{
	summary: "all of it",
	text: `
simplestream:
  distro_name: Ubuntu
  release_aliases: {noble: "24.04,24", jammy: 22.04}
  requirements:
  - requirements: {secureboot: false, n: 010}
  - requirements: {nesting: true}
    releases: [noble]
    architectures: [amd64, arm64]
    variants: [default]
  - requirements: {other: x}
    releases: [jammy]
  - requirements: {secureboot: true}
    variant: [desktop]
  - requirements: {never: applies}
    types: [vm]
`,
	os: "Ubuntu", aliases: "24.04,24", needs: "n=010 nesting=true secureboot=false",
}, {
	summary: "scalars are taken as they are written", text: "simplestream: {distro_name: 24.10, release_aliases: {noble: 24.10}}",
	os: "24.10", aliases: "24.10",
}, {
	summary: "later requirements win",
	text:    "simplestream: {requirements: [{requirements: {a: 1}}, {requirements: {a: 2}}]}", needs: "a=2",
}, {
	summary: "no section", text: "image: {distribution: ubuntu}",
}, {
	summary: "an empty section", text: "simplestream:",
}, {
	summary: "empty values", text: "simplestream: {distro_name: , release_aliases: , requirements: [{requirements: , releases: }]}",
}, {
	summary: "faults elsewhere are not our business", text: "image: [1, 2]\ntargets: 7\nsimplestream: {distro_name: x}", os: "x",
}, {
	summary: "anchors", text: "x: &a {noble: 24}\nsimplestream: {release_aliases: *a}", aliases: "24",
}, {
	summary: "merged maps",
	text:    "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nsimplestream: {requirements: [{requirements: {<<: [*x, *y], a: 3}}]}", needs: "a=3 b=1 c=2",
}, {
	summary: "a merged section", text: "x: &x {release_aliases: {noble: 24}}\nsimplestream: {<<: *x, distro_name: x}", aliases: "24", os: "x",
}, {
	summary: "a map that merges itself", text: "simplestream: {release_aliases: &a {noble: 24, <<: [*a, *a]}}", aliases: "24",
}, {
	summary: "a merge of no map", text: "simplestream: {release_aliases: {<<: 7}}", err: "line 1: not a map",
}, {
	summary: "unknown keys", text: "simplestream: {typo: 1, requirements: [{colour: red}]}", unknown: "typo requirements.colour",
}, {
	summary: "empty", text: " \n", err: "the file is empty",
}, {
	summary: "no YAML", text: "{", err: "yaml:",
}, {
	summary: "no map", text: "simplestream: [1]", err: "simplestream: line 1: not a map",
}, {
	summary: "no list", text: "simplestream: {requirements: {a: b}}", err: "not a list",
}, {
	summary: "no value", text: "simplestream: {distro_name: [a]}", err: "not a single value",
}, {
	summary: "an unknown type", text: "simplestream: {requirements: [{types: [disk]}]}", err: `unknown type "disk"`,
}}

func TestParseConfig(t *testing.T) {
	name := catalog.Name{Distro: "ubuntu", Release: "noble", Arch: "amd64", Variant: "default"}
	for _, test := range configTests {
		t.Run(test.summary, func(t *testing.T) {
			c, err := parseConfig([]byte(test.text))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			values := map[string]string{}
			c.requirementsOf(name, values)
			var needs []string
			for key, value := range Sorted(values) {
				needs = append(needs, key+"="+value)
			}
			aliases := strings.Join(c.aliasesOf("noble"), ",")
			if c.distroName != test.os || aliases != test.aliases || strings.Join(needs, " ") != test.needs || strings.Join(c.unknown, " ") != test.unknown {
				t.Errorf("%q %q %q %q", c.distroName, aliases, needs, c.unknown)
			}
		})
	}
}

func FuzzConfig(f *testing.F) {
	for _, test := range configTests {
		f.Add([]byte(test.text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseConfig(data)
		if err != nil {
			return
		}
		n := catalog.Name{Distro: "a", Release: "b", Arch: "c", Variant: "d"}
		c.WithoutEffect(n)
		for _, alias := range catalog.Aliases(n, c.aliasesOf("b")) {
			if strings.ContainsAny(alias, ", \n") {
				t.Fatalf("the alias %q", alias)
			}
		}
	})
}

var requirementsTests = []struct {
	summary string
	text    string
	want    map[string]string
	err     string
}{
	{"texts", `{"a": "b", "c": ""}`, map[string]string{"a": "b", "c": ""}, ""},
	{"values", `{"a": false, "b": 1.50}`, map[string]string{"a": "false", "b": "1.50"}, ""},
	{"nothing", `{}`, map[string]string{}, ""},
	{"null", `null`, map[string]string{}, ""},
	{"a list", `[]`, nil, "cannot unmarshal array"},
	{"a list inside", `{"a": []}`, nil, `"a" is not a single value`},
	{"more", `{} {}`, nil, "something follows the object"},
	{"half", `{"a":`, nil, "EOF"},
}

func TestParseRequirements(t *testing.T) {
	for _, test := range requirementsTests {
		t.Run(test.summary, func(t *testing.T) {
			got, err := parseRequirements([]byte(test.text))
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil || !maps.Equal(got, test.want) {
				t.Errorf("%v %v", got, err)
			}
		})
	}
}

func FuzzRequirements(f *testing.F) {
	for _, test := range requirementsTests {
		f.Add([]byte(test.text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if values, err := parseRequirements(data); err == nil && values == nil {
			t.Fatal("neither values nor an error")
		}
	})
}

// FuzzCache holds that no damaged cache is a danger and that one which is read is
// written again the same.
func FuzzCache(f *testing.F) {
	joint := &[2]digest.Digest{{1}, {2}}
	sample := []*FoundProduct{{
		Location: catalog.Name{Distro: "a", Release: "b", Arch: "c", Variant: "d"}.In("images"),
		levels:   []level{{"images/a/.requirements", site.Stamp{Size: 1, Mtime: -2, Ino: 3}, true}},
		Versions: []*FoundVersion{{
			Name: "20240101_0000", dir: site.Stamp{Size: 4, Mtime: 5, Ino: 6}, complete: true, Verdict: Rejected, Item: "x", Trouble: "y", Pending: true,
			Files:  []FoundFile{{Name: "rootfs.squashfs", Stamp: site.Stamp{Size: 7, Mtime: 8, Ino: 9}, Class: squashfs, Settled: true, Hashed: true, Sum: digest.Digest{3}, Joint: joint}},
			deltas: []decision{{"z", digest.Digest{4}, true}},
		}, {Name: "20240102_0000"}},
	}}
	data := encoded(sample)
	f.Add(data[:len(data)-sha256.Size])
	f.Add([]byte{})
	decoded, err := decodeCache(data, "images")
	if err != nil || !reflect.DeepEqual(decoded.Products[0].Versions[0], sample[0].Versions[0]) || !reflect.DeepEqual(decoded.Products[0].levels, sample[0].levels) {
		f.Fatalf("%v %+v", err, decoded)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		// With the right sum at its end, so that what comes after that check is tried.
		c, err := decodeCache(sealed(body), "images")
		if err != nil {
			return
		}
		if again := encoded(c.Products); !bytes.Equal(again, sealed(body)) {
			if _, err := decodeCache(again, "images"); err != nil {
				t.Fatalf("what was read cannot be written and read: %v", err)
			}
		}
	})
}

func encoded(products []*FoundProduct) []byte {
	var buf bytes.Buffer
	w := bufio.NewWriter(&buf)
	if _, err := (&Cache{Products: products}).encode(w); err != nil {
		panic(err)
	}
	w.Flush()
	return buf.Bytes()
}

func sealed(body []byte) []byte {
	sum := sha256.Sum256(body)
	return append(slices.Clone(body), sum[:]...)
}

// FuzzRemovable holds that nothing but a version or a delta of one can be removed.
func FuzzRemovable(f *testing.F) {
	for _, name := range []string{"images/a/b/c/d/20240101", "images/a/b/c/d/v/x.vcdiff", "images", "../x/a/b/c/d", "images/a/b/c/d/..", "streams/v1/a/b/c/d", "/a/b/c/d/e"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		r, ok := parseRemovable(name)
		if !ok {
			return
		}
		if r.Path() != name {
			t.Fatalf("%q is taken for %q", name, r.Path())
		}
		parts := strings.Split(name, "/")
		if len(parts) < 6 || len(parts) > 7 || slices.Contains(parts, "..") || slices.Contains(parts, ".") || slices.Contains(parts, "") {
			t.Fatalf("%q", name)
		}
		if len(parts) == 7 && !strings.HasSuffix(name, ".vcdiff") {
			t.Fatalf("%q", name)
		}
	})
}

func TestCompareVersions(t *testing.T) {
	tests := []struct {
		a, b           string
		bytes, natural int
	}{
		{"a", "a", 0, 0}, {"20240101", "20240102", -1, -1}, {"v10", "v9", -1, 1}, {"v9", "v10", 1, -1},
		{"v1a", "v1b", -1, -1}, {"v01", "v1", -1, -1}, {"1.10", "1.9", -1, 1}, {"1", "1a", -1, -1}, {"x", "1", 1, 1},
	}
	for _, test := range tests {
		if got := CompareVersions(test.a, test.b, false); got != test.bytes {
			t.Errorf("%s %s: %d", test.a, test.b, got)
		}
		if got := CompareVersions(test.a, test.b, true); got != test.natural {
			t.Errorf("%s %s, natural: %d", test.a, test.b, got)
		}
	}
}

// TestWindow holds that the window fits the base, as long as memory does.
func TestWindow(t *testing.T) {
	x := &Xdelta{budget: windowCost(256 << 20)}
	for base, want := range map[int64]int64{
		0: 512 << 10, 512 << 10: 512 << 10, 512<<10 + 1: 1 << 20, 1 << 20: 1 << 20, 100 << 20: 128 << 20, 1 << 40: 256 << 20,
	} {
		if got := x.window(base); got != want {
			t.Errorf("%d: %d", base, got)
		}
	}
	large := &Xdelta{budget: 1 << 50}
	for _, base := range []int64{1 << 31, 1<<31 + 1, 1 << 40} {
		if got := large.window(base); got != 1<<31 {
			t.Errorf("%d, with all memory: %d, which xdelta3 does not take", base, got)
		}
	}
}
