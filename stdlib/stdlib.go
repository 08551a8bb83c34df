// Package stdlib is the standard library of recipes: what is known of distributions,
// package managers and generators, in Starlark, so that anybody can read it, copy it
// and write more. prelude.star makes the words that need no load.
package stdlib

import "embed"

// FS holds the files, which recipes load as "@stdlib//NAME.star".
//
//go:embed *.star */*.star
var FS embed.FS
