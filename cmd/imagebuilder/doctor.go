package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/printable"
)

// The command for whoever does not know why a build cannot start on this machine.

func newDoctorCommand() *cobra.Command {
	var cache cacheOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what this machine can do and what it lacks",
		Long: `Check what builds need of this machine: the kernel, the cache and the programs that
parts of the work are left to, with the Debian package that brings each.`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			table := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			examineMachine(cmd.Context(), table, &cache)
			examineTools(cmd.Context(), table)
			return table.Flush()
		},
	}
	cache.addFlags(cmd)
	return cmd
}

// examineMachine tells of what no package brings: rights, space and the kernel. It tries
// what a build would do, since versions and modules tell little of what is allowed.
func examineMachine(ctx context.Context, w io.Writer, cache *cacheOptions) {
	report := func(ok bool, what, text string) {
		verdict := "ok"
		if !ok {
			verdict = "PROBLEM"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", verdict, what, printable.Text(text))
	}
	root := os.Geteuid() == 0
	if root {
		report(true, "root", "")
	} else {
		report(false, "root", "builds need it; plan, check and options do not")
	}
	warnings := &warningText{}
	store, err := cache.open(layer.Options{Log: slog.New(warnings)})
	if err != nil {
		report(false, "cache", err.Error())
		return
	}
	defer store.Close()
	report(true, "cache", fmt.Sprintf("%s, %v free", store.Dir(), free(store.Dir())))
	if !root {
		return
	}
	err = store.CheckOverlay(ctx)
	switch {
	case err != nil:
		report(false, "sandbox", err.Error())
	case warnings.text != "":
		report(true, "sandbox", "")
		report(false, "overlayfs", warnings.text)
	default:
		report(true, "sandbox", "")
		report(true, "overlayfs", "")
	}
}

// free returns how much there is for a user without reserves; nothing if nobody can tell.
func free(dir string) bytesize.Size {
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) != nil {
		return 0
	}
	return bytesize.Size(int64(st.Bavail) * st.Bsize)
}

// warningText is a slog.Handler that remembers the last warning.
type warningText struct{ text string }

func (w *warningText) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (w *warningText) WithAttrs([]slog.Attr) slog.Handler           { return w }
func (w *warningText) WithGroup(string) slog.Handler                { return w }
func (w *warningText) Handle(_ context.Context, r slog.Record) error {
	w.text = r.Message
	return nil
}

// examineTools tells of each program of the host that some step may need. That one is missing
// is no problem by itself: the steps that need it say so.
func examineTools(ctx context.Context, w io.Writer) {
	for _, t := range host.Tools() {
		if host.Installed(t.Name) {
			fmt.Fprintf(w, "ok\t%s\t%s\n", t.Name, t.VersionLine(ctx))
			continue
		}
		fmt.Fprintf(w, "missing\t%s\tpackage %s, for %s\n", t.Name, t.Package, t.For)
	}
}
