// Package template renders texts with pongo2, a dialect of Django's templates, the way
// image definitions have always meant them: without escaping, unknown names blank, and
// again and again while the result is itself a template.
package template

import (
	"errors"
	"fmt"
	"strings"

	"github.com/flosch/pongo2/v6"
)

// maxDepth is how often a result that is a template again is rendered: one that names
// itself would never end.
const maxDepth = 16

// readers are the tags that read files. A template sees the values it is given and
// nothing of the machine.
var readers = []string{"extends", "import", "include", "ssi"}

// Render renders text with the names of context: maps, lists, strings and booleans.
func Render(text string, context map[string]any) (string, error) {
	for range maxDepth {
		if !strings.Contains(text, "{{") && !strings.Contains(text, "{%") {
			return text, nil
		}
		var err error
		if text, err = Once(text, context); err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("after %d times the result is still a template: does a value name itself?", maxDepth)
}

// Once renders text a single time. What the result holds of template marks, for example
// from within {% verbatim %}, stays.
func Once(text string, context map[string]any) (out string, err error) {
	defer recovered(&err)
	parsed, err := parse(text)
	if err != nil {
		return "", err
	}
	if out, err = parsed.Execute(pongo2.Context(context)); err != nil {
		return "", reason(err)
	}
	return out, nil
}

// recovered makes an error of a panic: pongo2 has some, for example where a template
// divides by zero.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("template: %v", p)
	}
}

// Check finds what is wrong with a template without rendering it.
func Check(text string) (err error) {
	defer recovered(&err)
	_, err = parse(text)
	return err
}

func parse(text string) (*pongo2.Template, error) {
	set := pongo2.NewSet("definition", noFiles{})
	for _, tag := range readers {
		if err := set.BanTag(tag); err != nil {
			return nil, fmt.Errorf("internal error: %w", err)
		}
	}
	parsed, err := set.FromString("{% autoescape off %}" + text + "{% endautoescape %}")
	if err != nil {
		return nil, reason(err)
	}
	return parsed, nil
}

// reason says what is wrong and where, without the name that pongo2 gives a template.
func reason(err error) error {
	var p *pongo2.Error
	if !errors.As(err, &p) || p.OrigError == nil {
		return err
	}
	if p.Line > 0 {
		return fmt.Errorf("line %d of the template: %w", p.Line, p.OrigError)
	}
	return fmt.Errorf("template: %w", p.OrigError)
}
