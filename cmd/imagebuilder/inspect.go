package main

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/printable"
	"imagebuilder/builtins/tree"
	"imagebuilder/runtime"
)

// What is in an image: what it says of itself, its packages, and where its bytes are. A recipe
// unpacks it, so that the second look at the same image finds it in the cache.

//go:embed inspect.star
var inspecting string

// An inspection is what was found.
type inspection struct {
	Metadata  map[string]any   `json:"metadata,omitempty"`
	Templates []string         `json:"templates,omitempty"` // names of files
	Packages  []packageInImage `json:"packages,omitempty"`

	tree.Survey
}

type packageInImage struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Size    int64  `json:"size"` // bytes
}

// inspected is what the recipe has written down.
type inspected struct {
	Metadata  string
	Templates []string
	Rootfs    string
}

type inspectOptions struct {
	build buildOptions
	top   int
}

func newInspectCommand() *cobra.Command {
	o := inspectOptions{top: 10}
	cmd := &cobra.Command{
		Use:   "inspect IMAGE...|KEY",
		Short: "Say what is in an image: metadata, packages, and what is large",
		Long: `Say what an image holds: what it says of itself, its templates, its packages, and which
directories, packages and files are large. IMAGE is a unified archive, the files of a split
image, a root file system in an archive or squashfs image, or a disk. A KEY from
'imagebuilder cache list' means the root file system up to that layer.

The image is unpacked into the cache.`,
		Example: `  imagebuilder inspect out/lxd.tar.xz out/rootfs.squashfs
  imagebuilder inspect out/disk.qcow2 --top 20
  imagebuilder inspect 0ee21ab4f7c5 --json`,
		Args: args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && isKey(args[0]) {
				return o.layer(cmd, args[0])
			}
			return o.files(cmd, args)
		},
	}
	o.build.cache.addFlags(cmd)
	behindDoor(cmd)
	o.build.log.addFlags(cmd)
	addJSONFlag(cmd, &o.build.json)
	cmd.Flags().IntVar(&o.top, "top", o.top, "`number` of the largest to be named")
	return cmd
}

// layer inspects a layer of the cache, with all that is below it.
func (o *inspectOptions) layer(cmd *cobra.Command, key string) error {
	return o.build.cache.visitLayer(cmd.Context(), key, func(ctx context.Context, room *build.Room) error {
		survey, err := room.Survey(ctx, "/", o.top)
		if err != nil {
			return err
		}
		return o.print(cmd.OutOrStdout(), inspection{Survey: survey})
	})
}

// files inspects the files of an image.
func (o *inspectOptions) files(cmd *cobra.Command, names []string) error {
	display := o.build.log.newDisplay(cmd.ErrOrStderr())
	defer display.Close()
	return o.build.visitImage(cmd, display, names, func(ctx context.Context, room *build.Room, read inspected) error {
		found := inspection{Templates: read.Templates}
		err := yaml.Unmarshal([]byte(read.Metadata), &found.Metadata)
		if err != nil {
			return fmt.Errorf("cannot read metadata.yaml of the image: %w", err)
		}
		if read.Rootfs != "" {
			if found.Survey, err = room.Survey(ctx, read.Rootfs, o.top); err != nil {
				return err
			}
			list, err := room.Packages(ctx, read.Rootfs)
			if err != nil {
				return err
			}
			if err := list.Err(); err != nil {
				display.log.Warn("packages may be missing", "cause", err)
			}
			for _, p := range list.Packages {
				found.Packages = append(found.Packages, packageInImage{p.Name, p.Version, p.Size})
			}
		}
		display.Close()
		return o.print(cmd.OutOrStdout(), found)
	})
}

// visitImage unpacks the files of an image and has that entered, with what is known of it.
func (o *buildOptions) visitImage(cmd *cobra.Command, display *display, names []string, enter func(context.Context, *build.Room, inspected) error) error {
	config, err := runtimeConfig(cmd, o.log)
	if err != nil {
		return err
	}
	config.Options = make(runtime.Given)
	for _, name := range names {
		name, err := filepath.Abs(name)
		if err != nil {
			return err
		}
		if _, err := os.Stat(name); err != nil {
			return fmt.Errorf("cannot inspect the image: %w", err)
		}
		config.Options.Add("files", name)
	}
	recipe, err := runtime.LoadText(cmd.Context(), "inspect", inspecting, config)
	if err == nil {
		err = recipe.Ready(os.TempDir(), nil)
	}
	if err != nil {
		return err
	}
	dir, err := o.cache.directory()
	if err != nil {
		return err
	}
	options := runtime.BuildOptions{Cache: dir, Store: layer.Options{MaxSize: o.cache.maxSize()}, Log: display.log, Progress: display.progress}
	return recipe.Visit(options, nil, func(ctx context.Context, room *build.Room) error {
		var read inspected
		text, err := room.Read(ctx, "/inspected.json")
		if err == nil {
			err = json.Unmarshal(text, &read)
		}
		if err != nil {
			return err
		}
		return enter(ctx, room, read)
	})
}

func (o *inspectOptions) print(w io.Writer, found inspection) error {
	if o.build.json {
		return printJSON(w, found)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	printMetadata(table, found)
	fmt.Fprintf(table, "size\t%v in %d files\n", bytesize.Size(found.Size), found.Files)
	if err := table.Flush(); err != nil {
		return err
	}
	printSizes(w, "The largest directories", found.Directories)
	printSizes(w, fmt.Sprintf("The largest of %d packages", len(found.Packages)), largestPackages(found.Packages, o.top))
	printSizes(w, "The largest files", found.Largest)
	return nil
}

// printMetadata prints what the image says of itself.
func printMetadata(w io.Writer, found inspection) {
	for _, name := range []string{"architecture", "creation_date", "expiry_date"} {
		if value, ok := found.Metadata[name]; ok {
			fmt.Fprintf(w, "%s\t%s\n", name, printable.Line(fmt.Sprint(value)))
		}
	}
	if properties, ok := found.Metadata["properties"].(map[string]any); ok {
		var names []string
		for name := range properties {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			fmt.Fprintf(w, "%s\t%s\n", printable.Line(name), printable.Line(fmt.Sprint(properties[name])))
		}
	}
	if len(found.Templates) > 0 {
		fmt.Fprintf(w, "templates\t%s\n", printable.Line(strings.Join(found.Templates, ", ")))
	}
}

// largestPackages are some packages as names with sizes.
func largestPackages(packages []packageInImage, n int) []tree.Sized {
	sorted := slices.SortedStableFunc(slices.Values(packages), func(a, b packageInImage) int { return cmp.Compare(b.Size, a.Size) })
	var list []tree.Sized
	for _, p := range sorted[:min(n, len(sorted))] {
		list = append(list, tree.Sized{Path: p.Name + " " + p.Version, Size: p.Size})
	}
	return list
}

func printSizes(w io.Writer, title string, list []tree.Sized) {
	if len(list) == 0 {
		return
	}
	fmt.Fprintf(w, "\n%s:\n", title)
	for _, one := range list {
		fmt.Fprintf(w, "%12v  %s\n", bytesize.Size(one.Size), printable.Line(one.Path))
	}
}
