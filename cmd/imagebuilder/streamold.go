package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/printable"
	"imagebuilder/streams"
	"imagebuilder/streams/inventory"
	"imagebuilder/streams/page"
)

// oldMaintainerVersion is the version of simplestream-maintainer whose command line is
// understood.
const oldMaintainerVersion = "0.0.1"

// An oldMaintainer is what the tool is for those who call it simplestream-maintainer:
// its flags, exit codes, log records and forms of errors. The catalogs list what that
// program lists, and files are removed as soon as they have left the catalog.
type oldMaintainer struct {
	log     *slog.Logger // nil until the flags are read
	timeout uint
	level   string
	format  string
	streams []string
	version string

	workers  int
	page     bool
	dangling bool
	retain   inventory.Retention
}

// newOldMaintainer is the command line under the name of the older tool.
func newOldMaintainer() program {
	m := new(oldMaintainer)
	root := &cobra.Command{
		Use:               "simplestream-maintainer",
		Short:             "Maintain the catalogs of a simplestreams image server",
		Version:           oldMaintainerVersion,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return m.setLog(cmd) },
	}
	f := root.PersistentFlags()
	f.UintVar(&m.timeout, "timeout", 0, "end the run after so many `seconds`")
	f.StringVar(&m.level, "loglevel", "info", "`level` of what is logged: debug, info, warn or error")
	f.StringVar(&m.format, "logformat", "text", "`format` of the log: text or json")
	root.AddCommand(m.command("build", "Build the catalogs and the index", m.build), m.command("prune", "Prune old product versions", m.prune))
	return program{root, m.fail}
}

// command returns a command on a tree. Arguments behind the path do not count.
func (m *oldMaintainer) command(name, short string, run func(context.Context, streams.Site) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   name + " <path>",
		Short: short,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || args[0] == "" {
				//lint:ignore ST1005 that is its form
				return errors.New(`Argument "path" is required and cannot be empty`)
			}
			defer bound(cmd, seconds(m.timeout))()
			epoch, err := host.CallerEpoch()
			if err != nil {
				return err
			}
			return run(cmd.Context(), streams.Site{
				Root: args[0], Streams: m.streams, StreamVersion: m.version, Workers: max(1, m.workers), Log: m.log, Clock: epoch.Clock(),
			})
		},
	}
	f := cmd.Flags()
	f.StringSliceVarP(&m.streams, "image-dir", "d", []string{streams.DefaultStream}, "`name` of a directory of images; may be repeated")
	f.StringVar(&m.version, "stream-version", streams.DefaultStreamVersion, "`name` of the directory of catalogs")
	if name == "build" {
		f.IntVar(&m.workers, "workers", max(1, runtime.NumCPU()/2), "`number` of concurrent jobs")
		f.BoolVar(&m.page, "build-webpage", false, "write index.html")
		return cmd
	}
	f.BoolVar(&m.dangling, "dangling", false, "also remove what no catalog knows")
	f.IntVar(&m.retain.Builds, "retain-builds", streams.DefaultRetainBuilds, "`number` of versions of each product to keep")
	f.IntVar(&m.retain.Days, "retain-days", 0, "maximum age of a version, in `days`")
	return cmd
}

// build lists what the older tool lists, deltas of disks included.
func (m *oldMaintainer) build(ctx context.Context, tree streams.Site) error {
	opts := streams.BuildOptions{Site: tree, Upstream: true, Deltas: streams.DeltaOptions{Disks: inventory.DiskDeltasAlways}}
	if m.page {
		if len(m.streams) > 1 {
			//lint:ignore ST1005 that is its form
			return errors.New("Building index.html is supported only for a single stream")
		}
		opts.Page = &page.Setup{Title: "LXD Images", Clients: []string{"lxc"}}
	}
	_, err := streams.Build(ctx, opts)
	return hint(err, "build")
}

// prune takes away files at once: the older tool knows no grace, and its users have arranged
// themselves with that.
func (m *oldMaintainer) prune(ctx context.Context, tree streams.Site) error {
	if m.retain.Builds < 1 {
		return fmt.Errorf("invalid number of builds to retain: %d is less than 1", m.retain.Builds)
	}
	_, err := streams.Prune(ctx, streams.PruneOptions{Site: tree, Retain: m.retain, Dangling: m.dangling, Grace: streams.AtOnce})
	return hint(err, "prune")
}

// hint names the command that can force what was refused: this one cannot.
func hint(err error, verb string) error {
	if errors.Is(err, streams.ErrRefused) {
		return fmt.Errorf("%w: imagebuilder stream %s --force", err, verb)
	}
	return err
}

// oldLevels are the values of --loglevel.
var oldLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

// A logFlagError is a wrong value of one of the flags about the log.
type logFlagError struct{ what, value, valid string }

func (e logFlagError) Error() string {
	return fmt.Sprintf("Invalid log %s %q. Valid log %ss are: [%s]", e.what, e.value, e.what, e.valid)
}

// setLog makes the log when the flags are known. Its records are those that monitoring of
// the older tool reads.
func (m *oldMaintainer) setLog(cmd *cobra.Command) error {
	level, ok := oldLevels[m.level]
	if !ok {
		return logFlagError{"level", m.level, "debug, info, warn, error"}
	}
	if formats := []string{"text", "json"}; !slices.Contains(formats, m.format) {
		return logFlagError{"format", m.format, strings.Join(formats, ", ")}
	}
	opts := &slog.HandlerOptions{Level: level}
	if m.format == "json" {
		m.log = slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), opts))
	} else {
		m.log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), opts))
	}
	return nil
}

// fail logs a fatal error: before the flags about the log are read, in the form that
// the log has by itself.
func (m *oldMaintainer) fail(_ *cobra.Command, err error) int {
	var flag logFlagError
	switch {
	case errors.As(err, &flag):
		fmt.Fprintln(os.Stderr, "Error:", printable.Text(err.Error()))
	case m.log == nil:
		slog.Error(err.Error())
	default:
		m.log.Error(err.Error())
	}
	return exitCode("simplestream-maintainer", err)
}
