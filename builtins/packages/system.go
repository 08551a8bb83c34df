package packages

import (
	"strings"

	"imagebuilder/builtins/dirfd"
)

// A System is what a root file system says of itself in os-release(5).
type System struct {
	ID      string // such as debian; "": it does not say
	Version string // such as 12; "": it has none
}

func systemOf(root *dirfd.Dir) System {
	for _, name := range []string{"/etc/os-release", "/usr/lib/os-release"} {
		if text, err := root.ReadFile(name, 64<<10); err == nil {
			return parseSystem(string(text))
		}
	}
	return System{}
}

func parseSystem(text string) (s System) {
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch value = cleaned(strings.Trim(value, `"'`)); name {
		case "ID":
			s.ID = value
		case "VERSION_ID":
			s.Version = value
		}
	}
	return s
}
