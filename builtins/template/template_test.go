package template_test

import (
	"strings"
	"testing"

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
