package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/printable"
)

// The command for whoever does not know why a build cannot start on this machine.

// A finding is what the doctor says of one thing.
type finding struct {
	Verdict string `json:"verdict"` // ok, missing, warning or PROBLEM
	What    string `json:"what"`
	Text    string `json:"text,omitempty"`
	Package string `json:"package,omitempty"` // of Debian, that brings what is missing
}

const (
	fine    = "ok"
	missing = "missing"
	warning = "warning"
	problem = "PROBLEM"
)

func newDoctorCommand() *cobra.Command {
	var cache cacheOptions
	var recipe recipeOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor [RECIPE...]",
		Short: "Say what this machine can do and what it lacks",
		Long: `Check what builds need of this machine: the kernel, the cache and the programs that
parts of the work are left to, and of who is not root, user namespaces; with the Debian package that brings each; and of recipes, by
default debian, whether their keyrings are there and the servers that they begin with
answer. The exit status is 1 if there is a problem, as what a recipe needs that was named
and the machine has not. That another program is missing is none: a build that needs it
says so before it starts. Nor is a server that does not answer: what the cache has can be
built without.`,
		Example: `  imagebuilder doctor
  imagebuilder doctor alpine fedora
  imagebuilder doctor debian -o mirror=http://mirror.example.org/debian`,
		Args: args(0, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			if os.Geteuid() != 0 && host.TryDoor() == nil {
				return goThrough(cmd.Context())
			}
			found, needed := examineMachine(cmd.Context(), &cache), make(map[string]bool)
			of, err := examineRecipes(cmd, &recipe, args, needed)
			if err != nil {
				return err
			}
			found = slices.Concat(found, of, examineTools(cmd.Context(), needed))
			if err := tellFindings(cmd.OutOrStdout(), found, asJSON); err != nil {
				return err
			}
			if slices.ContainsFunc(found, func(f finding) bool { return f.Verdict == problem }) {
				return errors.New("this machine cannot do all that builds need; see above")
			}
			return nil
		},
	}
	cache.addFlags(cmd)
	recipe.addFlags(cmd)
	cmd.ValidArgsFunction = completeRecipes
	addJSONFlag(cmd, &asJSON)
	return cmd
}

// tellFindings prints a line for each finding, and how to get what is missing, or JSON.
func tellFindings(w io.Writer, found []finding, asJSON bool) error {
	if asJSON {
		return printJSON(w, found)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var packages []string
	for _, f := range found {
		fmt.Fprintf(table, "%s\t%s\t%s\n", f.Verdict, f.What, printable.Text(f.Text))
		if f.Package != "" && !slices.Contains(packages, f.Package) {
			packages = append(packages, f.Package)
		}
	}
	if err := table.Flush(); err != nil || len(packages) == 0 {
		return err
	}
	_, err := fmt.Fprintf(w, "\nWhat is missing is installed by:\n  apt-get install %s\n", strings.Join(packages, " "))
	return err
}

// examineMachine tells of what no package brings: rights, space and the kernel. It tries
// what a build would do, since versions and modules tell little of what is allowed.
func examineMachine(ctx context.Context, cache *cacheOptions) []finding {
	if os.Geteuid() != 0 { // and the door is closed: else this process would be behind it
		return []finding{{problem, "user namespace", host.TryDoor().Error(), ""}}
	}
	found := []finding{{fine, whoBuilds(), "", ""}, examineCache(cache)}
	warnings := &warningText{}
	store, err := cache.open(layer.Options{Log: slog.New(warnings)})
	if err != nil {
		return found
	}
	defer store.Close()
	overlay := finding{fine, "overlayfs", "", ""}
	if err = store.CheckOverlay(ctx); err == nil && warnings.text != "" {
		overlay.Verdict, overlay.Text = problem, warnings.text
	} else if err == nil {
		err = store.TrySandbox(ctx)
	}
	if err != nil {
		return append(found, finding{problem, "sandbox", err.Error(), ""})
	}
	return append(found, finding{fine, "sandbox", "", ""}, overlay)
}

func examineCache(cache *cacheOptions) finding {
	store, err := cache.open(layer.Options{})
	if err != nil {
		return finding{problem, "cache", err.Error(), ""}
	}
	defer store.Close()
	return finding{fine, "cache", fmt.Sprintf("%s, %v free", store.Dir(), free(store.Dir())), ""}
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

// examineTools tells of each program of the host that some step may need. It is a problem if
// one is missing that is needed.
func examineTools(ctx context.Context, needed map[string]bool) []finding {
	var found []finding
	for _, t := range host.Tools() {
		verdict := missing
		if needed[t.Name] {
			verdict = problem
		}
		switch {
		case host.NeedsRoot(t.Name):
			found = append(found, finding{fine, t.Name, "needs the machine's root, for " + t.For, ""})
		case host.Installed(t.Name):
			found = append(found, finding{fine, t.Name, t.VersionLine(ctx), ""})
		default:
			found = append(found, finding{verdict, t.Name, fmt.Sprintf("package %s, for %s", t.Package, t.For), t.Package})
		}
	}
	return found
}
