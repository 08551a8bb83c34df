package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"imagebuilder/builtins"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/builtins/library"
	"imagebuilder/builtins/printable"
	"imagebuilder/builtins/problems"
)

// The commands on the list of shared libraries, imagebuilder.mod.

// modOptions are the flags of these commands.
type modOptions struct {
	cache cacheOptions
	dir   string // of the list
}

func (o *modOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.dir, "directory", "C", ".", "`directory` of the recipes, which has imagebuilder.mod")
	cmd.Flags().StringVar(&o.cache.dir, "cache", "", cacheUsage)
}

func newModCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mod",
		Short: "Pin, check and copy the shared libraries of recipes",
		Long: `Shared libraries are files of Starlark of somebody else, which recipes load by their names:

  load("@acme//hardening.star", "harden")

The file imagebuilder.mod beside a recipe says what the names mean, a library a line:

  acme url=https://example.org/acme-1.2.tar.gz sha256=… prefix=acme-1.2
  lab dir=../lab

An archive is pinned: other bytes than those of its SHA-256 are refused. prefix= is the
directory in it that is the root of the library, files= the digest of a vendored copy. dir=
names a folder, also beside url=, whose archive it then takes the place of, to work on both at
once. A library that another one loads has a line here, too: no other list counts.

Functions of a library see no file of this machine but the library's own and those that
options are given, and run nothing on it; what they do to images is in the plan.`,
	}
	asGroup(cmd)
	cmd.AddCommand(newModAddCommand(), newModUpdateCommand(), newModVendorCommand(), newModVerifyCommand())
	return cmd
}

func newModAddCommand() *cobra.Command {
	var o modOptions
	var pin library.Pin
	cmd := &cobra.Command{
		Use:   "add NAME URL|DIR",
		Short: "Add a library: download and pin an archive, or name a folder",
		Long: `Add a library to imagebuilder.mod: an archive, tar or compressed tar, of an http or https URL,
which is downloaded once and pinned by its SHA-256, or a folder, whose path is relative to
that file. The line is printed, and what recipes can load. --sha256 says which archive it has
to be; over http it must be said. If all of the archive is in one directory, that is the root
of the library, unless --prefix says otherwise.`,
		Example: `  imagebuilder mod add acme https://example.org/acme-1.2.tar.gz
  imagebuilder mod add lab ../lab`,
		Args: args(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := library.Read(o.dir)
			if err != nil {
				return err
			}
			pin.Name = args[0]
			if err := library.CheckName(pin.Name); err != nil {
				return usageError{err}
			}
			if _, ok := list.Find(pin.Name); ok {
				return fmt.Errorf("%s is in %s already; 'imagebuilder mod update' changes it", pin.Name, o.file())
			}
			if pin.Vendored(o.dir) {
				return fmt.Errorf("%s is there already and of no library; move it away first", filepath.Join(o.dir, library.VendorDir, pin.Name))
			}
			return o.set(cmd, list, pin, args[1])
		},
	}
	o.addFlags(cmd)
	cmd.Flags().StringVar(&pin.SHA256, "sha256", "", "what the archive has to be, in `hex` digits")
	cmd.Flags().StringVar(&pin.Prefix, "prefix", "", "`directory` in the archive that is the root of the library; . is the archive itself")
	return cmd
}

func newModUpdateCommand() *cobra.Command {
	var o modOptions
	var wanted library.Pin
	var force bool
	cmd := &cobra.Command{
		Use:   "update NAME [URL|DIR]",
		Short: "Pin another archive of a library, or what its URL has now",
		Long: `Change the line of a library in imagebuilder.mod: to the archive of another URL, to what its
own URL serves now, or to a folder that takes the place of the archive, which stays pinned
beside it until a URL is given again. A vendored copy is made anew.`,
		Example: `  imagebuilder mod update acme https://example.org/acme-1.3.tar.gz
  imagebuilder mod update acme ../acme`,
		Args: args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := library.Read(o.dir)
			if err != nil {
				return err
			}
			pin, err := o.find(list, args[0])
			if err != nil {
				return err
			}
			location := pin.URL
			if len(args) == 2 {
				location = args[1]
			}
			if location == "" {
				return fmt.Errorf("%s is the folder %s, which is not pinned; say the URL of an archive to pin one", pin.Name, pin.Dir)
			}
			if isURL(location) && !force {
				if err := pin.Untouched(o.dir); err != nil {
					return err
				}
			}
			if isURL(location) {
				wanted.Name = pin.Name
				if len(args) == 1 {
					wanted.Dir = pin.Dir
				}
				pin = wanted
			}
			return o.set(cmd, list, pin, location)
		},
	}
	o.addFlags(cmd)
	cmd.Flags().StringVar(&wanted.SHA256, "sha256", "", "what the archive has to be, in `hex` digits")
	cmd.Flags().StringVar(&wanted.Prefix, "prefix", "", "`directory` in the archive that is the root of the library; . is the archive itself")
	cmd.Flags().BoolVar(&force, "force", false, "replace a vendored copy that somebody has changed")
	return cmd
}

func (o *modOptions) file() string { return filepath.Join(o.dir, library.FileName) }

func isURL(text string) bool { return strings.Contains(text, "://") }

// find returns what the list says of a library.
func (o *modOptions) find(list *library.List, name string) (library.Pin, error) {
	if pin, ok := list.Find(name); ok {
		return pin, nil
	}
	var names []string
	for _, pin := range list.Pins() {
		names = append(names, pin.Name)
	}
	hint := "'imagebuilder mod add' adds it"
	if near := builtins.Nearest(name, names); near != "" {
		hint = "did you mean " + near + "?"
	}
	return library.Pin{}, usageError{fmt.Errorf("there is no library %s in %s; %s", name, o.file(), hint)}
}

// set pins a location and writes the line of the library.
func (o *modOptions) set(cmd *cobra.Command, list *library.List, pin library.Pin, location string) error {
	options := librariesOf(cmd)
	if isURL(location) {
		guess := !cmd.Flags().Changed("prefix")
		if pin.Prefix == "." {
			pin.Prefix = ""
		}
		pin.URL = location
		vendored := pin.Vendored(o.dir)
		var err error
		if pin, err = library.MakePin(cmd.Context(), pin, guess, options); err != nil {
			return fmt.Errorf("cannot add the library %s: %w", pin.Name, err)
		}
		if vendored {
			if pin, err = library.Vendor(cmd.Context(), o.dir, pin, options); err != nil {
				return err
			}
		}
	} else {
		pin.Dir = location
	}
	if err := pin.Check(); err != nil {
		return err
	}
	dir, err := library.Find(cmd.Context(), o.dir, pin, options)
	if err != nil {
		return err
	}
	list.Set(pin)
	if err := o.write(list); err != nil {
		return err
	}
	return printLibrary(cmd, pin, dir)
}

// write writes the list.
func (o *modOptions) write(list *library.List) error {
	write := replaceFile
	if _, err := os.Stat(o.file()); err != nil {
		write = writeFile
	}
	if err := write(o.file(), list.Bytes()); err != nil {
		return fmt.Errorf("cannot write %s: %w", o.file(), dirfd.Cause(err))
	}
	return nil
}

// printLibrary prints the line of a library and the files that can be loaded.
func printLibrary(cmd *cobra.Command, pin library.Pin, dir string) error {
	out := cmd.OutOrStdout()
	fmt.Fprintln(out, printable.Line(pin.String()))
	var names []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(name, ".star") && !strings.HasSuffix(name, "_test.star") {
			names = append(names, name)
		}
		return err
	})
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(out, "  @%s//%s\n", pin.Name, printable.Line(name))
	}
	if len(names) == 0 && err == nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "it has no files *.star: is --prefix right?\n")
	}
	return err
}

func newModVerifyCommand() *cobra.Command {
	var o modOptions
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that all libraries are what imagebuilder.mod pins",
		Long: `Check imagebuilder.mod, that the archive of each library is what it pins, and that vendored
copies are as in the archive, file by file. What is not in the cache is downloaded; with
--offline the digest of a copy is enough. Folders of dir= are not pinned, and only have to
be there.`,
		Args: args(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := library.Read(o.dir)
			if err != nil {
				return err
			}
			type verified struct {
				Name  string         `json:"name"`
				From  library.Source `json:"from"`
				Error string         `json:"error,omitempty"`
			}
			all, errs := []verified{}, []error(nil)
			for _, pin := range list.Pins() {
				one := verified{Name: pin.Name, From: pin.Source(o.dir)}
				if err := library.Check(cmd.Context(), o.dir, pin, librariesOf(cmd)); err != nil {
					errs = append(errs, fmt.Errorf("@%s: %w", pin.Name, err))
					one.Error = err.Error()
				}
				all = append(all, one)
			}
			strays, err := list.Strays(o.dir)
			if errs = append(errs, err); asJSON {
				err = printJSON(cmd.OutOrStdout(), all)
			} else {
				for _, one := range all {
					state := "ok"
					if one.Error != "" {
						state = "wrong"
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %s\n", one.Name, one.From, state)
				}
			}
			for _, name := range strays {
				errs = append(errs, fmt.Errorf("%s is the copy of no library of %s", filepath.Join(o.dir, library.VendorDir, name), o.file()))
			}
			return problems.Join(append(errs, err)...)
		},
	}
	o.addFlags(cmd)
	addOfflineFlag(cmd)
	addJSONFlag(cmd, &asJSON)
	return cmd
}

func newModVendorCommand() *cobra.Command {
	var o modOptions
	var force bool
	cmd := &cobra.Command{
		Use:   "vendor [NAME]...",
		Short: "Copy libraries beside the recipe",
		Long: `Copy pinned libraries, all if none is named, to vendor/NAME beside imagebuilder.mod, where they
are used from then on, without cache or network, and can be kept under version control. The
digest of the files is written to the line of the library: a copy that somebody changes is
refused. To work on a library, name a folder by dir=.`,
		Args: args(0, 1000),
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := library.Read(o.dir)
			if err != nil {
				return err
			}
			pins := list.Pins()
			if len(args) > 0 {
				pins = nil
				for _, name := range args {
					pin, err := o.find(list, name)
					if err == nil && pin.URL == "" {
						err = fmt.Errorf("%s is the folder %s, not a pinned archive", pin.Name, pin.Dir)
					}
					if err != nil {
						return err
					}
					pins = append(pins, pin)
				}
			}
			var errs []error
			for _, pin := range pins {
				if pin.URL != "" {
					errs = append(errs, o.vendor(cmd, list, pin, force))
				}
			}
			return problems.Join(errs...)
		},
	}
	o.addFlags(cmd)
	addOfflineFlag(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "replace a copy that somebody has changed")
	return cmd
}

// vendor copies one library and notes the digest of its files.
func (o *modOptions) vendor(cmd *cobra.Command, list *library.List, pin library.Pin, force bool) error {
	if !force {
		if err := pin.Untouched(o.dir); err != nil {
			return err
		}
	}
	pin, err := library.Vendor(cmd.Context(), o.dir, pin, librariesOf(cmd))
	if err != nil {
		return err
	}
	list.Set(pin)
	if err := o.write(list); err != nil {
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), filepath.Join(o.dir, library.VendorDir, pin.Name))
	return nil
}
