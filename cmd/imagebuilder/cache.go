package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/printable"
	"imagebuilder/builtins/problems"
	"imagebuilder/builtins/squashfs"
)

// Where the cache is, and the commands on it. Every command that builds has the same flags.

// cacheOptions are the flags of all commands that use the cache.
type cacheOptions struct {
	dir string
	max bytesize.Size
}

// cacheVariable is the variable of the environment that names the directory.
const cacheVariable = "IMAGEBUILDER_CACHE"

const cacheUsage = "`directory` of the cache (default $IMAGEBUILDER_CACHE, else /var/cache/imagebuilder or that of the user)"

func (o *cacheOptions) addFlags(cmd *cobra.Command) {
	o.max = layer.DefaultMaxSize
	cmd.Flags().StringVar(&o.dir, "cache", "", cacheUsage)
	completeDirectory(cmd, "cache")
	cmd.Flags().Var(&o.max, "cache-size", "`size` above which the cache drops what was used least recently")
}

// directory is where layers and downloads are kept.
func (o *cacheOptions) directory() (string, error) {
	if o.dir != "" {
		return o.dir, nil
	}
	if dir := os.Getenv(cacheVariable); dir != "" {
		return dir, nil
	}
	if os.Geteuid() == 0 {
		return "/var/cache/imagebuilder", nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "imagebuilder"), err
}

// open opens the cache for a command on the cache itself; a build opens its own.
func (o *cacheOptions) open(options layer.Options) (*layer.Store, error) {
	dir, err := o.directory()
	if err != nil {
		return nil, err
	}
	options.MaxSize = o.maxSize()
	return layer.Open(dir, options)
}

// maxSize is the size of the cache as the store takes it: to that, 0 is nothing said.
func (o *cacheOptions) maxSize() int64 {
	if o.max == 0 {
		return -1
	}
	return int64(o.max)
}

func newCacheCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "cache", Short: "List, check, share or shrink the cache of layers, results and downloads"}
	asGroup(cmd)
	cmd.AddCommand(newCacheListCommand(), newCachePruneCommand(), newCachePullCommand(), newCachePushCommand(), newCacheVerifyCommand())
	return cmd
}

func newCacheListCommand() *cobra.Command {
	var o cacheOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List what is in the cache, the most recently used first",
		Long: `List the layers, results and downloads in the cache, with the downloads that were cut and
the logs that runs have left there, the most recently used first. Of squashfs images the last
line says how many blocks they hold, and how many of these one has from another.`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := o.open(layer.Options{})
			if err != nil {
				return err
			}
			defer store.Close()
			if asJSON {
				return listCacheJSON(cmd, store)
			}
			return listCache(cmd, store)
		},
	}
	o.addFlags(cmd)
	behindDoor(cmd)
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// A cached is an entry of the cache, for programs.
type cached struct {
	Key     string    `json:"key,omitempty"` // "": it is a log, or what was cut
	Size    int64     `json:"size"`          // bytes on disk
	Used    time.Time `json:"used"`
	Step    string    `json:"step"`
	Summary string    `json:"summary,omitempty"`
	Cause   string    `json:"damaged,omitempty"` // how
	Removed bool      `json:"removed,omitempty"`
}

func asCached(m layer.Meta) cached {
	c := cached{Size: m.Size, Used: m.Used, Step: m.Step, Summary: m.Summary}
	if layer.IsKey(m.Key) {
		c.Key = m.Key
	}
	return c
}

func listCacheJSON(cmd *cobra.Command, store *layer.Store) error {
	list, err := store.List()
	if err != nil {
		return err
	}
	entries := []cached{}
	for _, m := range list {
		entries = append(entries, asCached(m))
	}
	return printJSON(cmd.OutOrStdout(), entries)
}

// listCache prints a table with a line for each entry and their sum.
func listCache(cmd *cobra.Command, store *layer.Store) error {
	list, err := store.List()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KEY\tSIZE\tUSED\tSTEP\tWHAT")
	var total int64
	for _, m := range list {
		total += m.Size
		key := m.Key
		if !layer.IsKey(key) { // a log, or a download that was cut
			key = "-"
		}
		fmt.Fprintf(table, "%.12s\t%v\t%s\t%s\t%s\n", key, bytesize.Size(m.Size), m.Used.Format(time.DateTime), m.Step, shorten(m.Summary, 60))
	}
	fmt.Fprintf(table, "%d entries\t%v\t\t\t\n", len(list), bytesize.Size(total))
	if err := table.Flush(); err != nil {
		return err
	}
	images, archives, err := build.SharedBlocks(store)
	if err != nil {
		return err
	}
	sayShared(cmd.OutOrStdout(), "squashfs images", images)
	sayShared(cmd.OutOrStdout(), "archives", archives)
	return nil
}

// sayShared says how many blocks some files have, and how many of these several of them have.
func sayShared(w io.Writer, what string, s squashfs.Shared) {
	if s.Images > 0 {
		fmt.Fprintf(w, "%d %s of %d blocks, %v; %d more of them, %v, were not compressed again\n",
			s.Images, what, s.Blocks, bytesize.Size(s.Size), s.Again, bytesize.Size(s.AgainSize))
	}
}

func newCachePruneCommand() *cobra.Command {
	var o cacheOptions
	var all, asJSON bool
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove what was used least recently, down to --cache-size",
		Long: `Remove what was used least recently until the rest is no larger than --cache-size: layers,
results, downloads, also those that were cut, and logs. What a build is using stays; while
there is one, so do logs and downloads that were cut.`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := o.open(layer.Options{})
			if err != nil {
				return err
			}
			defer store.Close()
			max := int64(o.max)
			if all {
				max = 0
			}
			removed, err := store.Collect(max)
			var total int64
			for _, m := range removed {
				total += m.Size
			}
			if asJSON {
				entries := []cached{}
				for _, m := range removed {
					entries = append(entries, asCached(m))
				}
				return problems.Join(err, printJSON(cmd.OutOrStdout(), entries))
			}
			fmt.Fprintf(cmd.OutOrStdout(), "removed %d entries, %v\n", len(removed), bytesize.Size(total))
			return err
		},
	}
	o.addFlags(cmd)
	behindDoor(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "remove everything")
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func newCacheVerifyCommand() *cobra.Command {
	var o cacheOptions
	var repair, asJSON bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Read all that is in the cache, and say what is not as it was stored",
		Long: `Read all layers, results and downloads, and print those that are not what was put into the
cache. The exit status is 1 if there are any that were not removed. A build notices by itself
what was written to; what a bad disk has changed without a trace, only this does.

With --repair they are removed, so that the next build makes them anew; what a build is using
stays.`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := o.open(layer.Options{})
			if err != nil {
				return err
			}
			defer store.Close()
			return verifyCache(cmd, store, repair, asJSON)
		},
	}
	o.addFlags(cmd)
	behindDoor(cmd)
	cmd.Flags().BoolVar(&repair, "repair", false, "remove what is damaged")
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// verifyCache prints a line for each entry that is damaged, and how many there are.
func verifyCache(cmd *cobra.Command, store *layer.Store, repair, asJSON bool) error {
	faults, all, err := store.Verify(cmd.Context(), build.Verify)
	if err != nil {
		return err
	}
	var left []string
	for _, f := range faults {
		left = append(left, f.Key)
	}
	if repair {
		if left, err = store.Remove(left); err != nil {
			return err
		}
	}
	damaged := []cached{}
	for _, f := range faults {
		c := asCached(f.Meta)
		c.Cause, c.Removed = f.Cause.Error(), repair && !slices.Contains(left, f.Key)
		damaged = append(damaged, c)
	}
	if err := printDamaged(cmd.OutOrStdout(), damaged, all, asJSON); err != nil {
		return err
	}
	switch {
	case len(left) == 0:
		return nil
	case repair:
		return fmt.Errorf("%d damaged entries of the cache are in use", len(left))
	}
	return fmt.Errorf("%d entries of the cache are damaged; --repair removes them", len(left))
}

// printDamaged prints which of all entries are damaged.
func printDamaged(w io.Writer, damaged []cached, all int, asJSON bool) error {
	if asJSON {
		return printJSON(w, damaged)
	}
	for _, c := range damaged {
		note := ""
		if c.Removed {
			note = " (removed)"
		}
		fmt.Fprintf(w, "%.12s  %s  %s: %s%s\n", c.Key, c.Step, shorten(c.Summary, 60), printable.Line(c.Cause), note)
	}
	_, err := fmt.Fprintf(w, "%d entries, %d damaged\n", all, len(damaged))
	return err
}
