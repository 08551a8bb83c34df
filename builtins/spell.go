package builtins

import (
	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
)

// Whoever takes a name from a user, here or above, asks this file which known one is meant.

// Nearest returns the name that a misspelt one is likely to mean, or "".
func Nearest(name string, names []string) string {
	best, distance := "", len(name)/2+1
	for _, n := range names {
		if d := editDistance(name, n); d < distance {
			best, distance = n, d
		}
	}
	return best
}

// Attributes are the fields and methods of a type of values, by its name.
func Attributes(typeName string) []string {
	for _, v := range []starlark.HasAttrs{
		&file{}, &image{Image: &build.Image{}}, &link{}, &ociImage{}, &rootfs{}, &trust{}, &checksums{},
		starlark.String(""), &starlark.List{}, &starlark.Dict{}, &starlark.Set{},
	} {
		if v.Type() == typeName {
			return v.AttrNames()
		}
	}
	return nil
}

// editDistance is the number of letters to insert, delete or change (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
