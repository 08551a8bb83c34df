package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/lock"
	"imagebuilder/builtins/problems"
)

// What commands have in common that use the lock of a recipe: where it is, and what a run from it
// is like.

// lockedOptions are the flags of commands that run a recipe from its lock.
type lockedOptions struct {
	how  string // "": not from it
	file string // "": beside the recipe

	lock *lock.File
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
	case strings.HasPrefix(recipe, "@"):
		return "", usageError{fmt.Errorf("%s is of a library: say where its lock is with --lock-file", recipe)}
	}
	return strings.TrimSuffix(recipe, filepath.Ext(recipe)) + ".lock", nil
}

// open opens the lock of a recipe for a run from it, if it is to be one, and lets it say what the
// recipe and the build get.
func (o *lockedOptions) open(name string, recipe *recipeOptions, build *buildOptions) error {
	file, err := o.read(name)
	if err != nil || o.lock == nil {
		return err
	}
	if recipe.epoch, err = lockedEpoch(file, o.lock); err != nil {
		return err
	}
	build.lock, err = openLock(name, file, o.lock, false)
	recipe.lock = build.lock
	return err
}

// read reads the lock of a recipe, if a run is to be from it, and returns its name.
func (o *lockedOptions) read(name string) (file string, err error) {
	switch o.how {
	case "":
		return "", nil
	case lockedUsual, lockedStrict:
	default:
		return "", usageError{fmt.Errorf("--locked=%s: want --locked or --locked=strict", o.how)}
	}
	if file, err = lockFile(name, o.file); err != nil {
		return "", err
	}
	if o.lock, err = lock.Read(file); err != nil {
		return "", err
	}
	if o.lock.Empty() {
		return "", fmt.Errorf("there is no lock %s; 'imagebuilder lock %s' makes it", file, name)
	}
	return file, nil
}

// tools are the programs to plan a recipe with where several can do: those of its lock, if it is to
// be run from that, or else those that are given. Each call has options of its own.
func (o lockedOptions) tools(recipe string, given []string) ([]string, error) {
	file, err := o.read(recipe)
	if err != nil || o.lock == nil {
		return given, err
	}
	has := o.lock.Tools()
	for _, name := range given {
		if _, ok := has[name]; !ok {
			return nil, madeWithout(name, file)
		}
	}
	return slices.DeleteFunc(slices.Clone(build.Choices), func(name string) bool { _, ok := has[name]; return !ok }), nil
}

// madeWithout is the error of who wants a program that a lock does not know.
func madeWithout(tool, lock string) error {
	return usageError{fmt.Errorf("--tool %s: %s was made without it", tool, lock)}
}

// openLock begins a session with the lock of a recipe.
func openLock(recipe, name string, f *lock.File, record bool) (*lock.Session, error) {
	session := lock.Open(name, f, lock.Bodies{}, record)
	if _, err := os.Stat(recipe); err != nil {
		return session, nil // the name of one that comes with the tool, or standard input
	}
	dir, err := filepath.Abs(filepath.Dir(recipe))
	session.Dir = dir
	return session, err
}

// toolsNow are the versions of programs of this machine that locks know, and of this one.
func toolsNow(ctx context.Context, names []string) *lock.File {
	now := new(lock.File)
	now.SetTool("imagebuilder", version)
	for _, t := range host.Tools() {
		if t.Version != nil && slices.Contains(names, t.Name) && host.Installed(t.Name) {
			now.SetTool(t.Name, t.VersionLine(ctx))
		}
	}
	return now
}

// checkTools compares the tools of this machine with those that the lock was made by.
func (o *lockedOptions) checkTools(ctx context.Context, log *slog.Logger) error {
	if o.how == "" {
		return nil
	}
	others := o.lock.OtherTools(toolsNow(ctx, slices.Collect(maps.Keys(o.lock.Tools()))))
	var errs []error
	for _, other := range others {
		if o.how == lockedStrict {
			errs = append(errs, errors.New(other))
		} else {
			log.Warn(other + ": what it makes may differ")
		}
	}
	return problems.Join(errs...)
}

// keepBefore gives results that are as the lock says a second name while new ones are made, so
// that both are there if these differ.
func (o *lockedOptions) keepBefore(target string, options []string) (kept map[string]string) {
	kept = make(map[string]string)
	if o.how == "" {
		return kept
	}
	for _, r := range o.lock.Results(options) {
		name := filepath.Join(target, r.Name)
		if c, err := lock.ContentOf(name); err == nil && c.SHA256 == r.SHA256 && os.Link(name, name+".locked") == nil {
			kept[r.Name] = name + ".locked"
		}
	}
	return kept
}

// checkResults compares results with those that the lock names.
func (o *lockedOptions) checkResults(target string, options []string, kept map[string]string) error {
	if o.how == "" {
		return nil
	}
	var errs []error
	for _, r := range o.lock.Results(options) {
		name := filepath.Join(target, r.Name)
		c, err := lock.ContentOf(name)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("cannot compare %s with the lock: %w", r.Name, err))
		case c.SHA256 != r.SHA256:
			err := fmt.Errorf("%s has the SHA-256 %s, not %s as the lock says", name, c.SHA256, r.SHA256)
			if before := kept[r.Name]; before != "" {
				err = fmt.Errorf("%w; what it was is %s: 'imagebuilder diff' shows the difference", err, before)
			}
			errs = append(errs, err)
			continue
		}
		if before := kept[r.Name]; before != "" {
			errs = append(errs, os.Remove(before))
		}
	}
	return problems.Join(errs...)
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

// dropAll takes the second names away from results.
func dropAll(kept map[string]string) error {
	var errs []error
	for _, name := range kept {
		errs = append(errs, os.Remove(name))
	}
	return problems.Join(errs...)
}
