package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/printable"
	"imagebuilder/builtins/problems"
	"imagebuilder/runtime"
)

// The command repack-windows of lxd-imagebuilder, which sets the options of the recipe
// "windows".

type repackCommand struct {
	imageCommand // of which the flags of all builds count
	options      runtime.Given
	dryRun       bool
}

// Flags of the command and the options of the recipe that they set.
const (
	driversFlag      = "drivers"
	driversSumFlag   = "drivers-sha256"
	versionFlag      = "windows-version"
	architectureFlag = "windows-arch"
)

func newRepackWindowsCommand() *cobra.Command {
	c := new(repackCommand)
	flags := make(map[string]*string)
	cmd := &cobra.Command{
		Use:   "repack-windows SOURCE_ISO TARGET_ISO",
		Short: "Put virtio drivers into a Windows installation medium",
		Long: `Make a Windows installation medium that has the virtio drivers in each of its images,
which is what the recipe 'windows' does. The source is only read; the target appears when
it is complete. Nothing is mounted.

Version and architecture are those that the images tell, else those in the name of the
source. Without --drivers the disc of drivers is virtio-win.iso in the current directory,
or else is downloaded.`,
		Example: `  imagebuilder repack-windows Win11.iso Win11-virtio.iso
  imagebuilder repack-windows Win11.iso Win11-virtio.iso --drivers virtio-win.iso --dry-run`,
		Args: args(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.options = make(runtime.Given)
			for option, flag := range map[string]string{
				"drivers": driversFlag, "drivers_sha256": driversSumFlag, "version": versionFlag, "architecture": architectureFlag,
			} {
				if value := *flags[flag]; value != "" {
					c.options.Set(option, value)
				}
			}
			return c.repack(cmd, args[0], args[1])
		},
	}
	for name, usage := range map[string]string{
		driversFlag:      "disc of virtio drivers, by its `path` or URL, or a directory with what is on one",
		driversSumFlag:   "`digest` that the disc of drivers must have, as 64 hex digits",
		versionFlag:      "`version` of Windows, such as w11 or 2k22",
		architectureFlag: "`architecture`: amd64, ARM64 or x86",
	} {
		flags[name] = cmd.Flags().String(name, "", usage)
	}
	c.addRunFlags(cmd)
	cmd.Flags().BoolVar(&c.dryRun, "dry-run", false, "print images, drivers and registry values; do nothing")
	return cmd
}

// repack runs the recipe.
func (c *repackCommand) repack(cmd *cobra.Command, source, target string) error {
	defer bound(cmd, seconds(c.timeout))()
	if err := c.checkScratch(); err != nil {
		return err
	}
	if err := c.findDrivers(); err != nil {
		return err
	}
	iso, err := filepath.Abs(source)
	if err != nil {
		return err
	}
	c.options.Set("iso", iso)
	c.options.Set("name", filepath.Base(target))
	config, err := runtimeConfig(cmd, c.build.log)
	if err != nil {
		return err
	}
	config.Options = c.options
	recipe, err := runtime.Load(cmd.Context(), "windows", config)
	if err != nil {
		return err
	}
	if c.dryRun {
		return printDetails(cmd.OutOrStdout(), recipe)
	}
	defer c.removeScratch()
	return c.build.run(cmd, recipe, filepath.Dir(target))
}

// findDrivers sets where the drivers are. The older tool would keep its download in the last
// of these places.
func (c *repackCommand) findDrivers() error {
	given := c.options.Get("drivers")
	if strings.HasPrefix(given, "http://") || strings.HasPrefix(given, "https://") {
		return nil
	}
	const disc = "virtio-win.iso"
	for _, name := range slices.Compact([]string{cmp.Or(given, disc), filepath.Join(os.TempDir(), "lxd-imagebuilder", "windows", disc)}) {
		_, err := os.Stat(name)
		if err == nil {
			name, err = filepath.Abs(name)
			c.options.Set("drivers", name)
			return err
		}
		if given != "" {
			return usageError{fmt.Errorf("--%s: %w", driversFlag, err)}
		}
	}
	return nil
}

// printDetails prints the steps of a recipe with everything that is to be known of them.
func printDetails(w io.Writer, recipe *runtime.Recipe) error {
	planner, err := recipe.Plan()
	if err == nil {
		err = problems.Join(planner.MissingFiles()...)
	}
	if err != nil {
		return err
	}
	for i, step := range planner.Steps {
		printStep(w, i+1, step)
		for _, arg := range step.Details {
			fmt.Fprintf(w, "   %s = %s\n", printable.Line(arg.Name), printable.Text(planText(arg.Value)))
		}
	}
	return nil
}
