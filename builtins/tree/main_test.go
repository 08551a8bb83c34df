package tree_test

import (
	"os"
	"testing"

	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/tree"
)

func TestMain(m *testing.M) {
	if code, ok := sandbox.Main(tree.Editing, tree.Looking, tree.Copying); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}
