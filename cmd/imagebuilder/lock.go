package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/dirfd"
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
			return o.lock(cmd, args[0])
		},
	}
	o.recipe.addFlags(cmd)
	o.build.cache.addFlags(cmd)
	o.build.log.addFlags(cmd)
	cmd.Flags().BoolVar(&o.build.store.NoOverlay, "disable-overlay", false, "work on plain copies instead of overlayfs, without reuse")
	cmd.Flags().StringVar(&o.file, "lock-file", "", lockFileUsage)
	cmd.Flags().BoolVar(&o.update, "update", false, "pin what the network has now, whatever the lock says")
	cmd.Flags().BoolVar(&o.prune, "prune", false, "drop what this run, with these options, does not need")
	cmd.Flags().Var(&o.timeout, "timeout", timeLimitUsage)
	return cmd
}

func (o *lockOptions) lock(cmd *cobra.Command, name string) error {
	file, err := lockFile(name, o.file)
	if err != nil {
		return err
	}
	before := new(lock.File)
	if !o.update {
		if before, err = lock.Read(file); err != nil {
			return err
		}
	}
	recipe, err := o.recipe.load(cmd, name, o.build.log)
	if err != nil {
		return err
	}
	session := lock.Open(file, before, lock.Bodies{}, true)
	o.build.lock, o.build.store.Refresh = session, true
	if err := o.build.aside(cmd, recipe); err != nil {
		if wrong := session.Err(); wrong != nil {
			return wrong
		}
		return err
	}
	if err := writeLock(file, session.Merged(o.prune)); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%d answers are new in the lock\n", session.Found())
	fmt.Fprintln(cmd.OutOrStdout(), file)
	return nil
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

// aside runs a recipe whose results nobody is to see.
func (o *buildOptions) aside(cmd *cobra.Command, recipe *runtime.Recipe) (err error) {
	dir, remove, err := o.scratch()
	if err != nil {
		return err
	}
	defer func() { err = problems.Join(err, remove()) }()
	_, err = o.make(cmd, recipe, dir)
	return err
}
