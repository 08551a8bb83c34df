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
