package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/lock"
	"imagebuilder/builtins/problems"
	"imagebuilder/runtime"
)

// The command that makes locks.

type lockOptions struct {
	recipe  recipeOptions
	build   buildOptions
	file    string
	update  bool
	prune   bool
	check   bool
	results bool
	timeout timeLimit
}

func newLockCommand() *cobra.Command {
	var o lockOptions
	cmd := &cobra.Command{
		Use:   "lock RECIPE",
		Short: "Pin what a recipe gets from the network",
		Long: `Run a recipe, write down every answer that it gets from the network, a URL and a digest a line,
and keep the bytes in the cache. The lock is RECIPE.lock beside the recipe, without .star or
.yaml; 'imagebuilder run --locked' makes the same of it on any machine, on any day. What is
packed meanwhile is thrown away, and nothing is exported, imported or booted.

What the lock has already stays as it is, so that one lock serves many options of a recipe,
each locked by a call of its own, and knows one state of the archive. --update begins anew.

While it is locked, a program of a step has plain http alone: what it would ask by https is for
download() in the recipe.

Locks merge line by line: with the line '*.lock merge=union' in .gitattributes git unites what
two branches have locked. Where these have seen different states of the same URL, the lock says
so when it is read, with both lines; --update settles it.`,
		Example: `  imagebuilder lock debian -o release=trixie
  imagebuilder run --locked debian out -o release=trixie`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer bound(cmd, o.timeout)()
			file, err := lockFile(args[0], o.file)
			if err != nil {
				return err
			}
			if o.check {
				return o.checkServers(cmd, file)
			}
			if err := o.lock(cmd, args[0], file); err != nil {
				return err
			}
			if o.results {
				return o.lockResults(cmd, args[0], file)
			}
			return nil
		},
	}
	o.recipe.addFlags(cmd)
	o.recipe.addToolFlag(cmd)
	o.build.cache.addFlags(cmd)
	o.build.log.addFlags(cmd)
	cmd.Flags().BoolVar(&o.build.store.NoOverlay, "disable-overlay", false, "work on plain copies instead of overlayfs, without reuse")
	cmd.Flags().StringVar(&o.file, "lock-file", "", lockFileUsage)
	cmd.Flags().BoolVar(&o.update, "update", false, "pin what the network has now, whatever the lock says")
	cmd.Flags().BoolVar(&o.prune, "prune", false, "drop what this run, with these options, does not need")
	cmd.Flags().BoolVar(&o.check, "check", false, "run nothing: say which files of the lock servers do not have any more, or have others of")
	cmd.Flags().BoolVar(&o.results, "results", false, "run the recipe from the lock as well, and pin what comes of it")
	cmd.MarkFlagsMutuallyExclusive("check", "update")
	cmd.MarkFlagsMutuallyExclusive("check", "prune")
	cmd.MarkFlagsMutuallyExclusive("check", "results")
	cmd.Flags().Var(&o.timeout, "timeout", timeLimitUsage)
	return cmd
}

// lock runs the recipe and writes what it was answered.
func (o *lockOptions) lock(cmd *cobra.Command, name, file string) error {
	was, err := readLock(file)
	if err != nil {
		return err
	}
	before, err := lock.Parse(file, was)
	if o.update || was == nil {
		before, err = before.Mirrors(), nil // which people write
	}
	if err != nil {
		return err
	}
	session, err := openLock(name, file, before, true)
	if err != nil {
		return err
	}
	o.recipe.lock, o.build.lock, o.build.store.Refresh = session, session, true
	recipe, err := o.recipe.load(cmd, name, o.build.log)
	if err != nil {
		return err
	}
	if _, err := o.build.aside(cmd, recipe); err != nil {
		if wrong := session.Err(); wrong != nil {
			return wrong
		}
		return err
	}
	said, err := host.CallerEpoch()
	if err != nil {
		return err
	}
	merged := session.Merged(o.prune)
	if said != "" {
		merged.SetEpoch(string(said))
	}
	for tool, version := range toolsNow(cmd.Context(), session.Used()).Tools() {
		merged.SetTool(tool, version)
	}
	if is, err := readLock(file); err != nil || !bytes.Equal(is, was) {
		return problems.Join(err, fmt.Errorf("%s has changed meanwhile: run it again, all is in the cache", file))
	}
	if err := writeLock(file, merged); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%d answers are new in the lock\n", session.Found())
	fmt.Fprintln(cmd.OutOrStdout(), file)
	return nil
}

// readLock returns the text of a lock, nil where there is none, which can then be written.
func readLock(name string) ([]byte, error) {
	text, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read the lock: %w", err)
	}
	if err := unix.Access(filepath.Dir(name), unix.W_OK); err != nil {
		return nil, fmt.Errorf("cannot write the lock %s: its directory: %w", name, err)
	}
	return text, nil
}

// writeLock gives a lock its text, if that has changed.
func writeLock(name string, f *lock.File) error {
	write := replaceFile
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
		write = writeFile
	}
	if err := write(name, f.Bytes()); err != nil {
		return fmt.Errorf("cannot write the lock %s: %w", name, dirfd.Cause(err))
	}
	return nil
}

// scratch makes a directory in the cache for results that nobody is to see. One that is left is
// removed with what cut downloads leave.
func (o *buildOptions) scratch() (dir string, remove func() error, err error) {
	cache, err := o.cache.directory()
	if err != nil {
		return "", nil, err
	}
	partial := filepath.Join(cache, "partial")
	if err := os.MkdirAll(partial, 0o700); err != nil {
		return "", nil, fmt.Errorf("cannot make the cache: %w", err)
	}
	dir, err = os.MkdirTemp(partial, "lock-")
	return dir, func() error { return os.RemoveAll(dir) }, err
}

// aside runs a recipe whose results nobody is to see, and returns what they are.
func (o *buildOptions) aside(cmd *cobra.Command, recipe *runtime.Recipe) (made []lock.Result, err error) {
	dir, remove, err := o.scratch()
	if err != nil {
		return nil, err
	}
	defer func() { err = problems.Join(err, remove()) }()
	results, err := o.make(cmd, recipe, dir)
	for _, r := range results {
		name, relErr := filepath.Rel(dir, r.Path)
		c, readErr := lock.ContentOf(r.Path)
		if readErr != nil || relErr != nil { // it is a directory
			continue
		}
		made = append(made, lock.Result{Name: name, SHA256: c.SHA256})
	}
	return made, err
}

// lockResults runs the recipe from its lock and writes down what comes of it.
func (o *lockOptions) lockResults(cmd *cobra.Command, name, file string) error {
	locked := lockedOptions{how: lockedUsual, file: file}
	if err := locked.open(name, &o.recipe, &o.build); err != nil {
		return err
	}
	recipe, err := o.recipe.load(cmd, name, o.build.log)
	if err != nil {
		return err
	}
	o.build.store.Refresh = false
	made, err := o.build.aside(cmd, recipe)
	if err != nil {
		return err
	}
	for _, r := range made {
		locked.lock.SetResult(r, o.recipe.set)
	}
	return writeLock(file, locked.lock)
}
