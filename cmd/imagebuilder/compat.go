package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/lxd"
	"imagebuilder/builtins/options"
	"imagebuilder/compat"
	"imagebuilder/runtime"
)

// The command lines of the older tools. Each sets options of the recipe that a definition
// means; nothing is done in another way than for a recipe.

// imageCommand is one of the commands of lxd-imagebuilder or distrobuilder on definitions,
// with the flags that it has there and those of our own builds.
type imageCommand struct {
	target     string // option of the recipe
	server     lxd.Server
	definition definitionOptions
	build      buildOptions
	scratch    string
	cleanup    bool
	timeout    uint
	sources    string
	keep       bool
	postFiles  bool

	packing    wordOptions       // of what is packed
	lxd        *build.LXDOptions // the same, if it is for the server
	importInto string
}

// noAlias is the value of --import-into-lxd or --import-into-incus without one.
const noAlias = "-"

func newBuildDirCommand() *cobra.Command {
	c := &imageCommand{target: "dir"}
	cmd := c.command("build-dir DEFINITION TARGET_DIR", "Build a root file system in a directory", 2, 2)
	c.addSourceFlags(cmd)
	cmd.Flags().BoolVar(&c.postFiles, "with-post-files", false, "run post-files actions, too")
	return cmd
}

func newBuildLXCCommand() *cobra.Command {
	c := &imageCommand{target: "lxc"}
	cmd := c.command("build-lxc DEFINITION [TARGET_DIR]", "Build an image for LXC from a definition", 1, 2)
	c.addSourceFlags(cmd)
	c.addLXCFlags(cmd)
	return cmd
}

// newBuildServerCommand is build-lxd or build-incus.
func newBuildServerCommand(server lxd.Server) *cobra.Command {
	c := &imageCommand{target: "lxd", server: server}
	cmd := c.command("build-"+server.Word()+" DEFINITION [TARGET_DIR]", fmt.Sprintf("Build an image for %s from a definition", server), 1, 2)
	cmd.SuggestFor = []string{"build-lxd", "build-incus"} // in the tool that has only this one
	c.addSourceFlags(cmd)
	c.addServerFlags(cmd)
	return cmd
}

func newPackLXCCommand() *cobra.Command {
	c := &imageCommand{target: "lxc"}
	cmd := c.packCommand("pack-lxc DEFINITION SOURCE_DIR [TARGET_DIR]", "Pack a directory of build-dir for LXC")
	c.addLXCFlags(cmd)
	return cmd
}

// newPackServerCommand is pack-lxd or pack-incus.
func newPackServerCommand(server lxd.Server) *cobra.Command {
	c := &imageCommand{target: "lxd", server: server}
	cmd := c.packCommand("pack-"+server.Word()+" DEFINITION SOURCE_DIR [TARGET_DIR]", fmt.Sprintf("Pack a directory of build-dir for %s", server))
	cmd.SuggestFor = []string{"pack-lxd", "pack-incus"}
	c.addServerFlags(cmd)
	return cmd
}

// command makes a command of which the definition is the first argument and the target
// directory, if it is given, the second.
func (c *imageCommand) command(use, short string, min, max int) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Long: short + `. The definition is translated into a recipe and that is
run: 'imagebuilder convert' prints it. - reads the definition from standard input.`,
		Args: args(min, max),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.run(cmd, args[0], append(args, ".")[1], compat.Mode{Server: c.server}, runtime.Given{})
		},
	}
	c.addFlags(cmd)
	return cmd
}

// packCommand makes a command that starts from a directory of build-dir, between the two.
func (c *imageCommand) packCommand(use, short string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Long: short + `, which is not changed. Of repositories,
packages and actions before the files only what is typed for the kind of image is done,
as build-dir has done the rest.`,
		Args: args(2, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			source, err := filepath.Abs(args[1])
			if err != nil {
				return err
			}
			return c.run(cmd, args[0], append(args, ".")[2], compat.Mode{Server: c.server, Pack: true}, runtime.Given{"source": {source}})
		},
	}
	c.addFlags(cmd)
	return cmd
}

// addFlags adds what every command on definitions has. Those of the older tool that mean
// nothing here are taken all the same, so that its command lines go on working.
func (c *imageCommand) addFlags(cmd *cobra.Command) {
	c.definition.addFlags(cmd)
	c.addRunFlags(cmd)
	cmd.ValidArgsFunction = completeDefinition
}

// addRunFlags adds those of them that are about how a build is run.
func (c *imageCommand) addRunFlags(cmd *cobra.Command) {
	c.build.addFlags(cmd)
	cmd.Flags().StringVar(&c.scratch, "cache-dir", "", "`directory` that is removed at the end if it is empty; what is in it is left alone")
	completeDirectory(cmd, "cache-dir")
	cmd.Flags().BoolVar(&c.cleanup, "cleanup", true, "remove the directory of --cache-dir")
	cmd.Flags().UintVarP(&c.timeout, "timeout", "t", 0, "end the run after so many `seconds`")
}

// globalFlags adds the flags that the older tools take with every command, and before
// its name, too.
func globalFlags(flags *pflag.FlagSet) {
	cmd := &cobra.Command{}
	(&imageCommand{}).addFlags(cmd)
	for _, name := range []string{"cache-dir", "cleanup", "debug", "disable-overlay", "options", "timeout"} {
		if flags.Lookup(name) == nil {
			flags.AddFlag(cmd.Flags().Lookup(name))
		}
	}
}

// addSourceFlags adds the flags of commands that download; the pack commands do not.
func (c *imageCommand) addSourceFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.sources, "sources-dir", "", "`directory` to keep downloads in and to take them from, besides the cache")
	completeDirectory(cmd, "sources-dir")
	cmd.Flags().BoolVar(&c.keep, "keep-sources", true, "keep what is used of --sources-dir; false removes it at the end")
}

func (c *imageCommand) addLXCFlags(cmd *cobra.Command) {
	c.packing = build.ForLXC(options.AsFlag)
	addSettings(cmd, c.packing)
}

func (c *imageCommand) addServerFlags(cmd *cobra.Command) {
	c.lxd = build.ForLXD(options.AsFlag)
	c.packing = c.lxd
	addSettings(cmd, c.packing)
	cmd.Flags().BoolVar(&c.lxd.Disk, "vm", false, "make an image for virtual machines")
	name := "import-into-" + c.server.Word()
	cmd.Flags().StringVar(&c.importInto, name, "", fmt.Sprintf("import the image into %s, with an `alias` if one is given", c.server))
	cmd.Flags().Lookup(name).NoOptDefVal = noAlias
}

// run translates a definition and runs it.
func (c *imageCommand) run(cmd *cobra.Command, name, target string, mode compat.Mode, options runtime.Given) error {
	defer bound(cmd, seconds(c.timeout))()
	if err := c.setOptions(cmd, options); err != nil {
		return err
	}
	if err := c.checkScratch(); err != nil {
		return err
	}
	config, err := runtimeConfig(cmd, c.build.log)
	if err != nil {
		return err
	}
	doc, err := c.definition.load(cmd, name, config)
	if err != nil {
		return err
	}
	config.Options = options
	recipe, err := doc.Recipe(cmd.Context(), mode, config)
	if err != nil {
		return err
	}
	if err := c.setSources(cmd, doc); err != nil {
		return err
	}
	defer c.removeScratch()
	return c.build.run(cmd, recipe, target)
}

// checkScratch finds what is wrong with --cache-dir.
func (c *imageCommand) checkScratch() error {
	if st, err := os.Lstat(c.scratch); err == nil && !st.IsDir() {
		return usageError{fmt.Errorf("--cache-dir %s: not a directory", c.scratch)}
	}
	return nil
}

// removeScratch removes the directory of --cache-dir: nothing was put into it, and build jobs
// that make it count on it being gone.
func (c *imageCommand) removeScratch() {
	if c.scratch != "" && c.cleanup {
		unix.Rmdir(c.scratch)
	}
}

// setOptions sets the options of the recipe that the flags mean.
func (c *imageCommand) setOptions(cmd *cobra.Command, options runtime.Given) error {
	options.Set("target", c.target)
	if c.target == "dir" {
		if c.postFiles {
			options.Set("with_post_files", "true")
		}
		return nil
	}
	if c.lxd != nil {
		if c.lxd.Disk {
			options.Set("target", "vm")
		}
		c.lxd.Form = cmp.Or(c.lxd.Form, build.Split) // as in --type=
	}
	if err := checkSettings(cmd, c.packing); err != nil {
		return err
	}
	for _, s := range c.packing.Settings() {
		options.Set(s.Name, s.Default())
	}
	if c.lxd != nil && cmd.Flags().Changed("import-into-"+c.server.Word()) {
		options.Set("import_into_"+c.server.Word(), cmp.Or(c.importInto, noAlias)) // none also as in --import-into-lxd=
	}
	return nil
}

// setSources makes downloads be kept, and looked for, in the directory in which the older tool
// would keep those of this definition.
func (c *imageCommand) setSources(cmd *cobra.Command, doc *compat.Document) error {
	if c.sources == "" {
		return nil
	}
	dir, err := doc.SourcesDir(cmd.Context(), c.sources)
	c.build.sources = &build.Sources{Dir: dir, Keep: c.keep}
	return err
}

// newOldBuilderCommand is the root command for those who call the tool lxd-imagebuilder or
// distrobuilder.
func newOldBuilderCommand(name string, server lxd.Server) *cobra.Command {
	root := &cobra.Command{
		Use:     name,
		Short:   fmt.Sprintf("Build images for %s and LXC from YAML definitions", server),
		Version: oldBuilderVersion,
	}
	root.SetVersionTemplate("{{ .Version }}\n")
	root.CompletionOptions.DisableDefaultCmd = true
	globalFlags(root.PersistentFlags())
	root.AddCommand(definitionCommands(server)...)
	root.AddCommand(newRepackWindowsCommand())
	return root
}

// oldBuilderVersion is the version of lxd-imagebuilder and of distrobuilder whose definitions
// and command lines are understood.
const oldBuilderVersion = "3.0"

// definitionCommands returns the commands on definitions, which all names have, for servers.
func definitionCommands(servers ...lxd.Server) []*cobra.Command {
	commands := []*cobra.Command{
		newBuildDirCommand(),
		newBuildLXCCommand(),
		newPackLXCCommand(),
		newValidateCommand(),
	}
	for _, server := range servers {
		commands = append(commands, newBuildServerCommand(server), newPackServerCommand(server))
	}
	return commands
}
