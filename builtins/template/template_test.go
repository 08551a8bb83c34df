package template_test

import (
	"math/big"
	"strings"
	"testing"
	"time"

	"imagebuilder/builtins/template"
)

var context = map[string]any{
	"image": map[string]any{
		"distribution": "debian",
		"release":      "22.10",
		"description":  "{{ image.distribution|capfirst }} {{ image.release }}",
		"variant":      "default",
		"loop":         "{{ image.loop }}",
		"html":         "<a & b>",
	},
	"source":  map[string]any{"keys": []any{"k0", "k1"}},
	"enabled": true,
}

func TestRender(t *testing.T) {
	tests := []struct {
		summary, text, want, err string
	}{
		{"no template", "plain ${#var} { }", "plain ${#var} { }", ""},
		{"a value", "{{ image.release }}", "22.10", ""},
		{"a value that is a template", "You created {{ image.description }}.", "You created Debian 22.10.", ""},
		{"a comment", "a{# note #}b", "ab", ""},
		{"unknown names are blank", "[{{ nope }}{{ container.name }}{{ config_get(\"a\", \"b\") }}]", "[]", ""},
		{"values are strings", "{% if image.release == \"22.10\" %}yes{% endif %}{% if image.release == 22.10 %}no{% endif %}", "yes", ""},
		{"booleans", "{{ enabled }}{{ disabled }}", "True", ""},
		{"lists", "{{ source.keys.1 }}", "k1", ""},
		{"nothing is escaped", "{{ image.html }}", "<a & b>", ""},
		{"a block tag leaves its line break", "a\n{% if image.variant != \"default\" %}b{% endif %}\nc", "a\n\nc", ""},
		{"marks that take white space away", "a \n{%- if 1 -%}\n b {%- endif -%} \n c", "abc", ""},
		{"an unknown filter", "{{ image.release|nosuch }}", "", "line 1 of the template: filter 'nosuch' does not exist"},
		{"an unknown tag", "\n{% nosuch %}", "", "line 2 of the template: tag 'nosuch' not found"},
		{"a comment that is none", "{{ x }}${#var}", "", "line 1 of the template: single-line comment not closed"},
		{"files are not read", "{% include \"/etc/passwd\" %}", "", "line 1 of the template: usage of tag 'include' is not allowed"},
		{"nor by ssi", "{% ssi \"/etc/passwd\" %}", "", "line 1 of the template: usage of tag 'ssi' is not allowed"},
		{"a macro", "{% macro f(a, b=\"x\", c) %}<{{ a }}{{ b }}{{ c }}>{% endmacro %}{{ f(1) }}{{ f(1, 2, 3) }}{{ f() }}", "<1x><123><x>", ""},
		{"a macro that calls another", "{% macro f() %}f{% endmacro %}{% macro g() %}{{ f() }}{{ f() }}{% endmacro %}{{ g() }}{{ g() }}", "ffff", ""},
		{"a macro that calls itself", "\n{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "",
			"line 2 of the template: macros call each other more than 100 deep: does f call itself?"},
		{"macros that call each other", "{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ g() }}", "",
			"line 1 of the template: macros call each other more than 100 deep"},
		{"a macro by another name", "{% macro f() %}{{ g() }}{% endmacro %}{% set g = f %}{{ f() }}", "", "line 1 of the template: "},
		{"a macro without a name", "{% macro %}{% endmacro %}", "", "line 1 of the template: a macro needs a name"},
		{"a macro with too many arguments", "{% macro f() %}{% endmacro %}{{ f(1) }}", "", "line 1 of the template: macro f got 1 arguments, it takes 0"},
		{"deeper than anybody means", "{{ " + strings.Repeat("(", 1<<18) + "1" + strings.Repeat(")", 1<<18) + " }}", "", "the template has more than 10000 opening brackets"},
		{"larger than anybody means", "{{ 1" + strings.Repeat("^1", 1<<20) + " }}", "", "the template is larger than 1048576 bytes"},
		{"as deep as can be", "{{ " + strings.Repeat("(", 9999) + "1" + strings.Repeat(")", 9999) + " }}", "1", ""},
		{"a value that names itself", "{{ image.loop }}", "", "after 16 times the result is still a template: does a value name itself?"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			got, err := template.Render(test.text, context)
			if got != test.want || err == nil != (test.err == "") {
				t.Fatalf("%q, %v", got, err)
			}
			if err != nil && !strings.HasPrefix(strings.ToLower(err.Error()), strings.ToLower(test.err)) {
				t.Errorf("got error %v, want %s", err, test.err)
			}
		})
	}
}

func TestRenderKeeping(t *testing.T) {
	got, err := template.RenderKeeping("{{ image.description }} {% verbatim %}{{ container.name }}{% endverbatim %}", context)
	if err != nil || got != "Debian 22.10 {{ container.name }}" {
		t.Errorf("%q, %v", got, err)
	}
}

// Definitions were written for pongo2 v4: what is expected here is what that gives.
func TestAddition(t *testing.T) {
	names := map[string]any{"image": map[string]any{"release": "40", "version": "22.10", "name": "sid"}, "n": int64(2), "x": 0.5}
	for text, want := range map[string]string{
		"{{ image.release + 1 }}":                           "41",
		"{{ 1 + image.release }}":                           "41",
		"{{ image.release+image.release }}":                 "80",
		"{{ image.release - 1 + 2 + n }}":                   "43",
		"{{ image.release + n * 2 - 1 }}":                   "43",
		"{{ 2 * (image.release + 1) + 7 % 4 }}":             "85",
		"{{ image.release + 2 ^ 3 }}":                       "48.000000",
		"{{ image.release|add:1 + 1 }}":                     "402",
		"{{ image.version + 1 }}":                           "23",
		"{{ image.version + 0.5 }}":                         "22.600000",
		"{{ 0.5 + image.version }}":                         "22.600000",
		"{{ 1.5 + x }}":                                     "2.000000",
		"{{ image.name + 1 }}":                              "1",
		"{{ image.name + \"+\" }}":                          "0",
		"{{ nope + 1 }}":                                    "1",
		"{{ +1 }}{{ 3 - 1 }}":                               "12",
		"{% if image.release + 1 == 41 %}yes{% endif %}":    "yes",
		"{% if image.release == \"40\" %}yes{% endif %}":    "yes",
		"{% with a=n + 1 b=2 %}{{ a }}{{ b }}{% endwith %}": "32",
		"{{ \"a}} + b\" }} 1 + 1":                           "a}} + b 1 + 1",
		"{{ image.release + 7 / 2 }}":                       "43",
		"{{ image.release + 7 / 2.0 }}":                     "43.500000",
		"{{ 'a' + 1 }}":                                     "1",
		"a+b{# 1 + 1 #}":                                    "a+b",
		"{{ image.release + 1 + }}":                         "",
	} {
		got, err := template.Render(text, names)
		if got != want || err != nil && want != "" {
			t.Errorf("%s gives %q, %v, want %q", text, got, err, want)
		}
	}
}

// Numbers beyond 64 bits are written, and nothing else is done with them.
func TestLargeNumbers(t *testing.T) {
	n, _ := new(big.Int).SetString("18446744073709551616", 10)
	names := map[string]any{"n": n, "list": []any{int64(1), n}, "m": map[string]any{"n": n}, "a": int64(1)}
	const refused = "n is beyond 64 bits, with which templates do not reckon"
	for text, want := range map[string]string{
		"{{ n }} {{ a + 1 }}":                                                  "18446744073709551616 2",
		"{% if n %}{{- n -}}{% endif %}{# n + 1 #}n + 1":                       "18446744073709551616n + 1",
		"{% for x in list %}{{ x }} {% endfor %}{% if 1 in list %}{% endif %}": "1 18446744073709551616 ",
		"{{ n + 1 }}":                "",
		"{{ 1 - n }}":                "",
		"{{ n|add:1 }}":              "",
		"{% if n > a %}{% endif %}":  "",
		"{% if n == a %}{% endif %}": "",
	} {
		got, err := template.Render(text, names)
		if got != want || want == "" && (err == nil || err.Error() != refused) {
			t.Errorf("%s gives %q, %v, want %q", text, got, err, want)
		}
	}
	for text, name := range map[string]string{"{{ m.n * 2 }}": "m", "{% for x in list %}{{ x * 2 }}{% endfor %}": "x", "{% with y=n %}{{ 1 + y }}{% endwith %}": "y"} {
		if _, err := template.Render(text, names); err == nil || !strings.HasPrefix(err.Error(), name+" is beyond") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// What is to be the same again finds the same time and the same chance.
func TestClockAndChance(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	list := make([]any, 1000)
	for i := range list {
		list[i] = i
	}
	render := func(now any, text string) string {
		t.Helper()
		out, err := template.Render(text, map[string]any{template.Now: now, "list": list})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := render(now, `{% now "Mon Jan _2 2006 15:04 MST" %}`); got != "Fri Jan  2 2026 03:04 UTC" {
		t.Errorf("now is %s", got)
	}
	if _, err := time.Parse(time.DateOnly, render(nil, `{% now "2006-01-02" %}`)); err != nil {
		t.Error(err)
	}
	const text = "{{ list|random }} {{ list|random }}"
	first := render(now, text)
	if again := render(now, text); again != first {
		t.Errorf("first %s, then %s", first, again)
	}
	if a, b, _ := strings.Cut(first, " "); a == b {
		t.Errorf("twice %s in one template", a)
	}
	if later := render(now.Add(1), text); later == first {
		t.Errorf("always %s", later)
	}
	if got := render(now, "{{ nope|random }}{{ 'random' }}"); got != "random" {
		t.Errorf("got %s", got)
	}
}

func FuzzRender(f *testing.F) {
	for _, s := range []string{"{{ image.release }}", "{% if x %}{% endif %}", "{#", "{{", "{% for i in source.keys %}{{ i }}{% endfor %}", "{"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		out, err := template.Render(text, context)
		if err == nil && (strings.Contains(out, "{{") || strings.Contains(out, "{%")) {
			t.Errorf("%q is still a template: %q", text, out)
		}
	})
}
