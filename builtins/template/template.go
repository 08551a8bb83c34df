// Package template renders texts with pongo2, a dialect of Django's templates, the way
// image definitions have always meant them: without escaping, unknown names blank, and
// again and again while the result is itself a template. What is rendered, and with which
// names, is its callers' business; of this machine a template sees no file, but its clock.
package template

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"sync"

	"github.com/flosch/pongo2/v6"
)

// maxDepth is how often a result that is a template again is rendered: one that names
// itself would never end.
const maxDepth = 16

// readers are the tags that read files, which templates have not.
var readers = []string{"extends", "import", "include", "ssi"}

// Render renders text with the names of context: maps, lists, strings, numbers and booleans,
// and the time of the run as [Now].
func Render(text string, context map[string]any) (string, error) {
	if IsTemplate(text) {
		var err error
		if text, err = once(text, context); err != nil {
			return "", err
		}
	}
	for range maxDepth - 1 {
		if !hasTags(text) {
			return text, nil
		}
		var err error
		if text, err = once(text, context); err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("after %d times the result is still a template: does a value name itself?", maxDepth)
}

var (
	verbatim = regexp.MustCompile(`(?s)\{%-?\s*verbatim\s*-?%\}(.*?)\{%-?\s*endverbatim\s*-?%\}`)
	comment  = regexp.MustCompile(`\{#.*?#\}`)
)

// IsTemplate tells a text that rendering may change.
func IsTemplate(text string) bool { return hasTags(text) || comment.MatchString(text) }

func hasTags(text string) bool { return strings.Contains(text, "{{") || strings.Contains(text, "{%") }

// RenderKeeping renders text as Render does, for somebody who renders it again: what
// stands within {% verbatim %} stays as it is.
func RenderKeeping(text string, context map[string]any) (string, error) {
	var kept []string
	text = verbatim.ReplaceAllStringFunc(text, func(part string) string {
		kept = append(kept, verbatim.FindStringSubmatch(part)[1])
		return fmt.Sprintf("\x00%d\x00", len(kept)-1)
	})
	out, err := Render(text, context)
	for i, part := range kept {
		out = strings.ReplaceAll(out, fmt.Sprintf("\x00%d\x00", i), part)
	}
	return out, err
}

// once renders text a single time.
func once(text string, context map[string]any) (out string, err error) {
	defer recovered(&err)
	if err := checkLarge(text, context); err != nil {
		return "", err
	}
	parsed, err := parse(text)
	if err != nil {
		return "", err
	}
	names := map[string]any{minus: -1, minusFloat: -1.0}
	maps.Copy(names, context)
	withRun(names, text)
	if out, err = parsed.Execute(pongo2.Context(names)); err != nil {
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

// Templates are parsed and executed by going down into what is within them, which must
// have an end before the stack of the process has.
const (
	maxSize     = 1 << 20
	maxBrackets = 10000
)

// checkSize refuses a text that goes too deep, whatever is in it.
func checkSize(text string) error {
	switch {
	case len(text) > maxSize:
		return fmt.Errorf("the template is larger than %d bytes", maxSize)
	case strings.Count(text, "(")+strings.Count(text, "[") > maxBrackets:
		return fmt.Errorf("the template has more than %d opening brackets", maxBrackets)
	}
	return nil
}

// replace puts what is ours in place of pongo2's, which has one table of each for all.
var replace = sync.OnceValue(func() error {
	err := errors.Join(pongo2.ReplaceTag("macro", parseMacro), pongo2.ReplaceTag("now", parseNow), pongo2.ReplaceFilter("random", random))
	if err != nil {
		return fmt.Errorf("internal error: %w", err)
	}
	return nil
})

func parse(text string) (*pongo2.Template, error) {
	if err := errors.Join(checkSize(text), replace()); err != nil {
		return nil, err
	}
	set := pongo2.NewSet("definition", noFiles{})
	for _, tag := range readers {
		if err := set.BanTag(tag); err != nil {
			return nil, fmt.Errorf("internal error: %w", err)
		}
	}
	parsed, err := set.FromString("{% autoescape off %}" + meaning(text) + "{% endautoescape %}")
	if err != nil {
		return nil, reason(err)
	}
	return parsed, nil
}

// nested is how pongo2 begins the text of an error that is in another one.
var nested = regexp.MustCompile(`\[Error \(where: [^|\]]*\| Line \d+ Col \d+( near '[^']*')?\] `)

// reason says what is wrong and where, without the name that pongo2 gives a template.
func reason(err error) error {
	var p *pongo2.Error
	if !errors.As(err, &p) || p.OrigError == nil {
		return err
	}
	cause := nested.ReplaceAllString(p.OrigError.Error(), "")
	if p.Line > 0 {
		return fmt.Errorf("line %d of the template: %s", p.Line, cause)
	}
	return fmt.Errorf("template: %s", cause)
}
