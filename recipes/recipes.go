// Package recipes holds the recipes that come with the tool, one a distribution.
package recipes

import "embed"

// FS holds the recipes, which are run by name and loaded as "@recipes//NAME.star".
//
//go:embed *.star
var FS embed.FS
