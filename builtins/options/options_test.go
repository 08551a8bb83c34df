package options

import (
	"errors"
	"strings"
	"testing"
	"time"

	"imagebuilder/builtins/timespan"
)

// values are the values of the options of a word as a face sets them.
type values struct {
	Table
	form  string
	share float64
	since timespan.Span
	quiet Opposite
}

func newValues(spell Spelling) *values {
	v := &values{Table: New(spell), form: "round", share: 0.5, since: timespan.Span(time.Hour)}
	v.Add(
		&Setting{Name: "form", To: &v.form, Values: []string{"round", "square"}, Help: "`form`, see {much_since}"},
		&Setting{Name: "share", To: &v.share, Check: func() error {
			if v.share > 1 {
				return Want(v.share, "a share")
			}
			return nil
		}},
		&Setting{Name: "much_since", To: &v.since},
		&Setting{Name: "url", Of: "page", Flag: "page-url", To: &v.form},
		&Setting{Name: "loud", Flag: "quiet", To: &v.quiet},
	)
	v.Together(func() error {
		if v.quiet && v.share == 1 {
			return errors.New("who is quiet has no " + v.Named("share"))
		}
		return nil
	})
	return v
}

// What is wrong with an option is said with its name as the face spells it, and a value that
// is the default is not checked.
func TestCheck(t *testing.T) {
	tests := []struct {
		name   string
		set    func(*values)
		given  string
		flag   string // what is wrong, as a command line says it
		recipe string // and as a recipe does
	}{
		{name: "the defaults", set: func(*values) {}},
		{name: "one of the values", set: func(v *values) { v.form = "square" }},
		{
			"another value", func(v *values) { v.form = "oval" }, "form",
			"--form oval: want round or square", "form oval: want round or square",
		},
		{"a check", func(v *values) { v.share = 2 }, "share", "--share 2: want a share", "share 2: want a share"},
		{name: "a check of what is not given", set: func(v *values) { v.share = 2 }},
		{
			"a text", func(v *values) { v.Get("much_since").Read("soon") }, "much_since",
			`--much-since: not a length of time`, `much_since: not a length of time`,
		},
		{
			"together", func(v *values) { v.share, v.quiet = 1, true }, "",
			"who is quiet has no --share", "who is quiet has no share",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for want, spell := range map[*string]Spelling{&test.flag: AsFlag, &test.recipe: InRecipe} {
				v := newValues(spell)
				test.set(v)
				if test.given != "" {
					v.Get(test.given).Given = true
				}
				got := ""
				if err := v.Check(); err != nil {
					got = err.Error()
				}
				if !strings.HasPrefix(got, *want) || (*want == "") != (got == "") {
					t.Errorf("%q, want %q", got, *want)
				}
			}
		})
	}
}

func TestSpelling(t *testing.T) {
	flags, recipe := newValues(AsFlag), newValues(InRecipe)
	for i, want := range []struct{ flag, argument, text string }{
		{"--form", "form", "round"},
		{"--share", "share", "0.5"},
		{"--much-since", "much_since", "1h"},
		{"--page-url", `page["url"]`, "round"},
		{"--quiet", "loud", "false"},
	} {
		s := flags.Settings()[i]
		if got := flags.Spell(s); got != want.flag {
			t.Errorf("the flag of %s is %s, want %s", s.Name, got, want.flag)
		}
		if got := recipe.Spell(s); got != want.argument {
			t.Errorf("the argument of %s is %s, want %s", s.Name, got, want.argument)
		}
		if got := s.Default(); got != want.text {
			t.Errorf("the default of %s is %s, want %s", s.Name, got, want.text)
		}
	}
	if got, want := flags.Help(flags.Get("form")), "`form`, see --much-since"; got != want {
		t.Errorf("the help is %q, want %q", got, want)
	}
}

func TestOnce(t *testing.T) {
	once := Once{Err: errors.New("it is said twice")}
	if err := once.Set("a"); err != nil {
		t.Fatal(err)
	}
	if err := once.Set("b"); err == nil || once.String() != "a" {
		t.Errorf("the second text: %v, and the value is %q", err, &once)
	}
}
