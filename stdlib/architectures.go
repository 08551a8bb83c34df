package stdlib

import (
	"fmt"
	"regexp"
	"strings"
)

// The facts about architectures are in architectures.star, where recipes and people read
// them. What Go needs of them it reads there too, so that they are said once.

// Debian returns Debian's name of an architecture by that of the kernel, as
// map_architecture("debian", …) does. A name without another stays as it is.
func Debian(kernel string) string {
	for _, pair := range debianPair.FindAllStringSubmatch(debianMap(), -1) {
		if pair[1] == kernel {
			return pair[2]
		}
	}
	return kernel
}

var debianPair = regexp.MustCompile(`"(\w+)": "(\w+)"`)

// debianMap returns the text of the literal MAPS["debian"].
func debianMap() string {
	const file = "architectures.star"
	data, err := FS.ReadFile(file)
	if err != nil {
		panic("internal error: " + err.Error()) // it is part of the program
	}
	_, rest, found := strings.Cut(string(data), "\n    \"debian\": {\n")
	text, _, end := strings.Cut(rest, "\n    },\n")
	if !found || !end {
		panic(fmt.Sprintf("internal error: %s has no map of Debian's architectures", file))
	}
	return text
}
