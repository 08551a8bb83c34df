package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/host"
)

// The door: what builds, or touches the cache of builds, is root, for owners and mounts. A user
// who is not goes through here into a user namespace, in which the tool is started again and
// does the same as for root, to files of the user's own subordinate ids.

// rootless is the flag by which root goes through the door as well.
const rootless = "rootless"

// behindDoor makes a command one that only root can do, of the machine or of a user namespace.
// Where flags are named, one of them must be given for that.
func behindDoor(cmd *cobra.Command, flags ...string) {
	cmd.Flags().Bool(rootless, false, "work in a user namespace, as for those who are not root")
	cmd.Annotations = map[string]string{rootless: strings.Join(flags, " ")}
}

// throughDoor goes through the door if a command lies behind it, and ends with what the
// process inside has ended with.
func throughDoor(cmd *cobra.Command, _ []string) error {
	flags, behind := cmd.Annotations[rootless]
	if !behind || flags != "" && !slices.ContainsFunc(strings.Fields(flags), cmd.Flags().Changed) {
		return nil
	}
	asked, err := cmd.Flags().GetBool(rootless)
	if err != nil {
		return err
	}
	if os.Geteuid() == 0 && (!asked || host.Confined()) {
		return nil
	}
	return goThrough(cmd.Context())
}

// goThrough starts the tool again in a user namespace, and ends as that does.
func goThrough(ctx context.Context) error {
	env, err := insideEnviron()
	if err != nil {
		return err
	}
	status, err := host.GoThrough(env, func(pass func(os.Signal)) {
		endingOf(ctx).pass.Store(&pass)
		var before signalError
		if errors.As(context.Cause(ctx), &before) { // it came while the door was opened
			pass(before.signal)
		}
	})
	if err != nil {
		return err
	}
	return statusError(status)
}

// whoBuilds is what doctor calls the user of this process, who is root.
func whoBuilds() string {
	if host.Confined() {
		return "root of a user namespace"
	}
	return "root"
}

// insideEnviron is the environment of the process inside: it finds the cache where this one
// would, and the programs that are root's, which the PATH of a user need not have.
func insideEnviron() ([]string, error) {
	cache, err := new(cacheOptions).directory()
	if err != nil {
		return nil, err
	}
	path := filepath.SplitList(os.Getenv("PATH"))
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if !slices.Contains(path, dir) {
			path = append(path, dir)
		}
	}
	return append(os.Environ(), cacheVariable+"="+cache, "PATH="+strings.Join(path, ":")), nil
}
