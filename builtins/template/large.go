package template

import (
	"fmt"
	"math/big"
	"regexp"
	"slices"
)

// Numbers beyond 64 bits are written out, but pongo2 does not reckon with them: it takes them for 0
// or compares where they are kept. So that is an error.

var (
	operator = regexp.MustCompile(`^(?:[-+*/^%<>=!]|add|divisibleby|get_digit|integer|float|floatformat)$`)
	naming   = regexp.MustCompile(`^\{%-?\s*(?:for|set|with)\b`)
	keyword  = regexp.MustCompile(`^(?:for|in|set|with|as)$|^\W`)
	braces   = regexp.MustCompile(`^\{[{%]-?|-?[}%]\}$`)
)

// checkLarge refuses code that reckons with a large number of the context.
func checkLarge(text string, context map[string]any) error {
	large := make(map[string]bool)
	for name, v := range context {
		if hasLarge(v) {
			large[name] = true
		}
	}
	if len(large) == 0 {
		return nil
	}
	for _, code := range part.FindAllString(text, -1) {
		if verbatim.MatchString(code) || comment.MatchString(code) {
			continue
		}
		words := token.FindAllString(braces.ReplaceAllString(code, ""), -1)
		at := slices.IndexFunc(words, func(word string) bool { return large[word] })
		switch {
		case at < 0:
		case naming.MatchString(code): // what it names may have the number
			for _, word := range words {
				large[word] = !keyword.MatchString(word)
			}
		case slices.ContainsFunc(words, operator.MatchString):
			return fmt.Errorf("%s is beyond 64 bits, with which templates do not reckon", words[at])
		}
	}
	return nil
}

// hasLarge tells whether there is a large number in a value.
func hasLarge(v any) bool {
	switch v := v.(type) {
	case *big.Int:
		return true
	case []any:
		return slices.ContainsFunc(v, hasLarge)
	case map[string]any:
		for _, elem := range v {
			if hasLarge(elem) {
				return true
			}
		}
	}
	return false
}
