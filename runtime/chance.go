package runtime

import (
	"encoding/json"
	"regexp"

	"imagebuilder/builtins/build"
)

// What stands in the way of images that are the same twice, where an epoch says that those are
// wanted. It need not be wrong, and nobody but the recipe can do anything about it.

// saltsAtRandom finds a program in a script or a command line, as JSON has it.
var saltsAtRandom = regexp.MustCompile(`(^|[^\w./-]|\\[nt])(/usr)?(/s?bin/)?chpasswd($|[^\w./-])`)

// warnOfChance says which steps make something else every time.
func (r *Recipe) warnOfChance(steps []build.PlannedStep, warn func(text string, attrs ...any)) {
	if r.words.Epoch == "" {
		return
	}
	for _, s := range steps {
		text, err := json.Marshal(s.Args)
		if s.Builtin == "chroot_run" && err == nil && saltsAtRandom.Match(text) {
			warn("chpasswd salts a password at random, so that no two images are the same: usermod --password HASH sets one that is", "at", s.At)
		}
	}
}
