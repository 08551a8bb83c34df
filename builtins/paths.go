package builtins

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"go.starlark.net/starlark"
)

// Arguments that are paths in an image have types of their own: what may not reach a system
// call is refused here, before anything is done.

// optionalPath is an argument that is a path in a rootfs, or empty.
type optionalPath string

func (p *optionalPath) Unpack(v starlark.Value) error {
	text, ok := starlark.AsString(v)
	if !ok {
		return fmt.Errorf("got %s, want a path", v.Type())
	}
	*p = optionalPath(text)
	return checkText(text)
}

// anyPath is an argument that is a path in a rootfs, that of the whole too.
type anyPath string

func (p *anyPath) Unpack(v starlark.Value) error {
	var text optionalPath
	if err := text.Unpack(v); err != nil {
		return err
	}
	if text == "" {
		return errors.New("the path is empty")
	}
	*p = anyPath(text)
	return nil
}

// filePath is an argument that is the path of a file in a rootfs.
type filePath string

func (p *filePath) Unpack(v starlark.Value) error {
	var text optionalPath
	if err := text.Unpack(v); err != nil {
		return err
	}
	if path.Clean("/"+string(text)) == "/" {
		return fmt.Errorf("%s is the path of the whole rootfs, want that of a file", v)
	}
	*p = filePath(text)
	return nil
}

// checkText refuses what no system call takes, and what would not reach one as it is.
func checkText(text string) error {
	switch {
	case strings.Contains(text, "\x00"):
		return fmt.Errorf("%q has a zero byte", text)
	case !utf8.ValidString(text):
		return fmt.Errorf("%q is not UTF-8", text)
	}
	return nil
}
