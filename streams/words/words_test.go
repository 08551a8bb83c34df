package words_test

import (
	"strings"
	"testing"
	"time"

	"imagebuilder/builtins/options"
	"imagebuilder/streams"
	"imagebuilder/streams/words"
)

// A word is one table of options.
type word interface {
	Settings() []*options.Setting
	Help(*options.Setting) string
	Check() error
}

func tables(spell options.Spelling) map[string]word {
	return map[string]word{
		"build": words.ForBuild(spell), "prune": words.ForPrune(spell), "verify": words.ForVerify(spell),
		"list": words.ForList(spell), "add": words.ForAdd(spell),
	}
}

// Each option is called something, says what it does, and makes sense as it is by default.
func TestTables(t *testing.T) {
	for name, w := range tables(options.AsFlag) {
		names, flags := make(map[string]bool), make(map[string]bool)
		for _, s := range w.Settings() {
			if s.Help == "" || strings.ContainsAny(w.Help(s), "{}") {
				t.Errorf("%s %s: help %q", name, s.Name, w.Help(s))
			}
			if names[s.Of+"."+s.Name] || flags[s.FlagName()] {
				t.Errorf("%s %s: it is there twice", name, s.Name)
			}
			names[s.Of+"."+s.Name], flags[s.FlagName()] = true, true
		}
		if err := w.Check(); err != nil {
			t.Errorf("%s: the defaults are refused: %v", name, err)
		}
	}
}

func TestHelpSpeaksOfOthersByTheirNames(t *testing.T) {
	for _, test := range []struct {
		spell options.Spelling
		want  string
	}{
		{options.AsFlag, "let --retain-days take"}, {options.InRecipe, "let retain_days take"},
	} {
		p := words.ForPrune(test.spell)
		found := false
		for _, s := range p.Settings() {
			found = found || strings.HasPrefix(p.Help(s), test.want)
		}
		if !found {
			t.Errorf("no help starts with %q", test.want)
		}
	}
}

// What the engine takes for "not given" is not what a user means who says zero.
func TestZeroIsSaid(t *testing.T) {
	p := words.ForPrune(options.AsFlag)
	opts := p.Options(streams.Site{})
	if opts.Retain.Builds != 0 || opts.Grace != streams.DefaultGrace || opts.DanglingAge != streams.DefaultDanglingAge || opts.MaxDrop != streams.DefaultMaxDrop {
		t.Errorf("nothing said: %+v", opts)
	}
	for _, s := range p.Settings() {
		switch s.Name {
		case "grace", "dangling_age":
			s.Read("0")
		case "retain_builds":
			*s.To.(*int) = 3
		case "max_drop":
			*s.To.(*float64) = 0
		default:
			continue
		}
		s.Given = true
	}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	opts = p.Options(streams.Site{})
	if opts.Retain.Builds != 3 || opts.Grace != streams.AtOnce || opts.DanglingAge != time.Nanosecond || opts.MaxDrop <= 0 || opts.MaxDrop > 1e-300 {
		t.Errorf("zero said: %+v", opts)
	}
}

// A text about the page asks for a page.
func TestPageIsImplied(t *testing.T) {
	for _, name := range []string{"", "title", "stale", words.PageName} {
		b := words.ForBuild(options.AsFlag)
		for _, s := range b.Settings() {
			if s.Name == name && (s.Of == words.PageName || name == words.PageName) {
				s.Given = true
				if on, ok := s.To.(*bool); ok {
					*on = true
				}
			}
		}
		if got := b.Options(streams.Site{}).Page; (got != nil) != (name != "") {
			t.Errorf("%q is given: %+v", name, got)
		}
	}
}
