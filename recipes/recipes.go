// Package recipes holds the recipes that come with the tool, one a distribution.
package recipes

import (
	"embed"
	"strings"
)

// FS holds the recipes, which are run by name and loaded as "@recipes//NAME.star".
//
//go:embed *.star
var FS embed.FS

// Names are those of the recipes, in order.
func Names() []string {
	files, err := FS.ReadDir(".")
	if err != nil {
		panic("internal error: " + err.Error())
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".star"))
	}
	return names
}
