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

// Debian's package of the SSH server makes its host keys when it is installed.
var (
	makesHostKeys   = regexp.MustCompile(`(install|--include=).*openssh-server`)
	removesHostKeys = regexp.MustCompile(`ssh_host_`)
)

// warnOfChance says which steps make something else every time.
func (r *Recipe) warnOfChance(steps []build.PlannedStep, warn func(text string, attrs ...any)) {
	if r.words.Epoch == "" {
		return
	}
	keys := "" // where host keys are made that nothing removes
	for _, s := range steps {
		text, err := json.Marshal(s.Args)
		switch {
		case err != nil || s.Builtin != "chroot_run" && s.Builtin != "host_run":
		case saltsAtRandom.Match(text) && s.Builtin == "chroot_run":
			warn("chpasswd salts a password at random, so that no two images are the same: usermod --password HASH sets one that is", "at", s.At)
		case removesHostKeys.Match(text):
			keys = ""
		case makesHostKeys.Match(text) && keys == "":
			keys = s.At
		}
	}
	if keys != "" {
		warn("openssh-server makes host keys of SSH, which no two images have alike, and all machines of one would share: seal(root) removes them", "at", keys)
	}
}
