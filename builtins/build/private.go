package build

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"imagebuilder/builtins/tree"
)

// What an image should not hold when others get it: it is packed all the same, and said.

// privatePatterns match files that tell one machine from another, or let somebody be it.
var privatePatterns = []string{
	machineID, "/var/lib/dbus/machine-id", "/var/lib/systemd/random-seed",
	"/etc/ssh/ssh_host_*_key", "/etc/ssl/private/*.key", "/root/.ssh/id_*", "/home/*/.ssh/id_*",
}

const machineID = "/etc/machine-id"

// maxPrivate is how many files are named in a warning.
const maxPrivate = 5

// lookForPrivate looks for such files, beside other work. The function that it returns says
// which there are.
func (k packer) lookForPrivate(ctx context.Context) (warn func() error) {
	state := k.stateOf(k.step.Root)
	filled := k.recall(state, tree.Look{Op: "filled", Path: strings.Join(privatePatterns, "\n")})
	id := k.recall(state, tree.Look{Op: "read", Path: machineID})
	done := make(chan error, 1)
	go func() {
		err := filled.find(ctx)
		if err == nil && slices.Contains(filled.answer.Names, machineID) {
			err = id.find(ctx)
		}
		done <- err
	}()
	return func() error {
		if err := <-done; err != nil {
			return err
		}
		k.remember(filled)
		k.remember(id)
		names := slices.DeleteFunc(slices.Clone(filled.answer.Names), func(name string) bool {
			if name == machineID { // systemd makes one where there is nothing but a line end, or this
				text := strings.TrimSpace(string(id.answer.Data))
				return text == "" || text == "uninitialized"
			}
			return strings.HasSuffix(name, ".pub")
		})
		if len(names) == 0 {
			return nil
		}
		more := ""
		if n := len(names) - maxPrivate; n > 0 {
			names, more = names[:maxPrivate], fmt.Sprintf(" and %d more", n)
		}
		k.Log.Warn(fmt.Sprintf("the image has what only one machine should have: %s%s; call seal(root) before it is packed",
			strings.Join(names, ", "), more), "step", k.step.Label, "at", k.step.At)
		return nil
	}
}
