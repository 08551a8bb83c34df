package stdlib_test

import (
	"testing"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"imagebuilder/stdlib"
)

// What Go reads of the file is what recipes see of it.
func TestDebian(t *testing.T) {
	source, err := stdlib.FS.ReadFile("architectures.star")
	if err != nil {
		t.Fatal(err)
	}
	globals, err := starlark.ExecFileOptions(new(syntax.FileOptions), new(starlark.Thread), "architectures.star", source, nil)
	if err != nil {
		t.Fatal(err)
	}
	debian, _, err := globals["MAPS"].(*starlark.Dict).Get(starlark.String("debian"))
	if err != nil {
		t.Fatal(err)
	}
	items := debian.(*starlark.Dict).Items()
	if len(items) == 0 {
		t.Error("the map is empty")
	}
	for _, item := range items {
		kernel, _ := starlark.AsString(item[0])
		want, _ := starlark.AsString(item[1])
		if got := stdlib.Debian(kernel); got != want {
			t.Errorf("%s is %s, not %s", kernel, got, want)
		}
	}
	if got := stdlib.Debian("riscv64"); got != "riscv64" {
		t.Errorf("riscv64 is %s", got)
	}
}
