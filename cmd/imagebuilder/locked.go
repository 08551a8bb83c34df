package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/lock"
)

// What commands have in common that use the lock of a recipe: where it is, and what a run from it
// is like.

// lockedOptions are the flags of commands that run a recipe from its lock.
type lockedOptions struct {
	how  string // "": not from it
	file string // "": beside the recipe
}

// The values of --locked.
const (
	lockedUsual  = "yes"
	lockedStrict = "strict"
)

const lockFileUsage = "the lock is `file` (default: the name of the recipe with .lock, beside it)"

func (o *lockedOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.how, "locked", "", "have no network but what the lock of the recipe says; `strict`: nor other versions of this machine's tools")
	cmd.Flags().Lookup("locked").NoOptDefVal = lockedUsual
	cmd.Flags().StringVar(&o.file, "lock-file", "", lockFileUsage)
}

// lockFile is the name of a recipe's lock.
func lockFile(recipe, given string) (string, error) {
	switch {
	case given != "":
		return given, nil
	case recipe == "-":
		return "", usageError{errors.New("a recipe of standard input has no name: say where its lock is with --lock-file")}
	}
	return strings.TrimSuffix(recipe, filepath.Ext(recipe)) + ".lock", nil
}

// open opens the lock of a recipe for a run from it, if it is to be one.
func (o *lockedOptions) open(recipe string, run *runOptions) error {
	switch o.how {
	case "":
		return nil
	case lockedUsual, lockedStrict:
	default:
		return usageError{fmt.Errorf("--locked=%s: want --locked or --locked=strict", o.how)}
	}
	name, err := lockFile(recipe, o.file)
	if err != nil {
		return err
	}
	f, err := lock.Read(name)
	if err != nil {
		return err
	}
	if f.Empty() {
		return fmt.Errorf("there is no lock %s; 'imagebuilder lock %s' makes it", name, recipe)
	}
	epoch, err := lockedEpoch(name, f)
	if err != nil {
		return err
	}
	run.recipe.epoch = epoch
	run.build.lock = lock.Open(name, f, lock.Bodies{}, false)
	return nil
}

// lockedEpoch is the epoch of a lock, which the caller must not contradict.
func lockedEpoch(name string, f *lock.File) (host.Epoch, error) {
	said, err := host.CallerEpoch()
	if err != nil {
		return "", err
	}
	epoch := host.Epoch(f.Epoch())
	if said != "" && epoch != "" && said != epoch {
		return "", fmt.Errorf("SOURCE_DATE_EPOCH is %s, but %s is of %s: unset it, or change the line epoch", said, name, epoch)
	}
	if epoch == "" {
		epoch = said
	}
	return epoch, nil
}
