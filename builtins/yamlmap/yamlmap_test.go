package yamlmap_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"imagebuilder/builtins/yamlmap"
)

func TestPairs(t *testing.T) {
	tests := []struct {
		summary string
		text    string
		want    string // pairs
		flaw    error
	}{
		{"nothing", "m: {}", "", nil},
		{"in its order", "m: {b: 1, a: 2}", "b=1 a=2", nil},
		{"an alias as value", "x: &x 1\nm: {a: *x}", "a=1", nil},
		{"an alias as key", "x: &x a\nm: {*x : 1}", "a=1", nil},
		{"its own win over what it merges", "x: &x {a: 1, b: 1}\nm: {<<: *x, a: 2}", "a=2 b=1", nil},
		{"the first that is merged wins", "x: &x {a: 1}\ny: &y {a: 2, b: 2}\nm: {<<: [*x, *y]}", "a=1 b=2", nil},
		{"what is merged merges", "x: &x {a: 1}\ny: &y {<<: *x, b: 2}\nm: {<<: *y}", "b=2 a=1", nil},
		{"the nearest wins", "x: &x {a: 1}\ny: &y {<<: *x}\nz: &z {a: 3}\nm: {<<: [*y, *z]}", "a=1", nil},
		{"a key that is given twice", "m: {a: 1, a: 2}", "a=1", yamlmap.ErrTwice},
		{"a mapping that merges itself", "m: &m {a: 1, <<: *m}", "a=1", yamlmap.ErrItself},
		{"a list that merges itself", "m: {<<: &l [*l], a: 1}", "a=1", yamlmap.ErrItself},
		{"a merge of a scalar", "m: {<<: 7, a: 1}", "a=1", yamlmap.ErrMerge},
		{"a key that is a list", "m: {[a]: 1, b: 2}", "b=2", yamlmap.ErrKey},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			var doc struct{ M yaml.Node }
			if err := yaml.Unmarshal([]byte(test.text), &doc); err != nil {
				t.Fatal(err)
			}
			pairs, flaws := yamlmap.Pairs(&doc.M)
			var got []string
			for _, p := range pairs {
				got = append(got, p.Name+"="+p.Value.Value)
			}
			if s := strings.Join(got, " "); s != test.want {
				t.Errorf("got %q", s)
			}
			if len(flaws) > 1 || len(flaws) == 1 && !errors.Is(flaws[0].Err, test.flaw) || len(flaws) == 0 && test.flaw != nil {
				t.Errorf("flaws: %v", flaws)
			}
		})
	}
}

// A few lines of merges of merges are gone through in a moment.
func TestPairsOfMany(t *testing.T) {
	text := "m0: &m0 {a: 1}\n"
	for i := range 60 {
		text += fmt.Sprintf("m%d: &m%d {<<: [*m%d, *m%d]}\n", i+1, i+1, i, i)
	}
	var doc struct {
		M yaml.Node `yaml:"m60"`
	}
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	if pairs, flaws := yamlmap.Pairs(&doc.M); len(pairs) != 1 || len(flaws) > 0 {
		t.Errorf("%v %v", pairs, flaws)
	}
}
