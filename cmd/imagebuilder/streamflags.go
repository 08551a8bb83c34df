package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/timespan"
	"imagebuilder/streams"
	"imagebuilder/streams/options"
)

// What the words on an image server can be told is said by package options. This file
// makes flags of it, with those that only the command line has.

// A wordOptions is the options of one word.
type wordOptions interface {
	Settings() []*options.Setting
	Help(*options.Setting) string
	Check() error
}

// addSettings makes flags of options.
func addSettings(cmd *cobra.Command, table wordOptions) {
	for _, s := range table.Settings() {
		name, help := s.FlagName(), table.Help(s)
		addSetting(cmd.Flags(), s, name, help)
	}
}

func addSetting(f *pflag.FlagSet, s *options.Setting, name, help string) {
	switch to := s.To.(type) {
	case *string:
		f.StringVar(to, name, *to, help)
	case *int:
		f.IntVar(to, name, *to, help)
	case *float64:
		f.Float64Var(to, name, *to, help)
	case *bool:
		f.BoolVar(to, name, *to, help)
	case *options.Opposite:
		f.BoolVar((*bool)(to), name, bool(*to), help)
	case *[]string:
		f.StringSliceVar(to, name, *to, help)
	case *options.Paragraphs:
		f.StringArrayVar((*[]string)(to), name, *to, help)
	case options.Textual:
		f.Var(to, name, help)
		if strings.Contains(help, "(default ") { // which the value does not say as well
			f.Lookup(name).DefValue = ""
		}
	default:
		panic(fmt.Sprintf("internal error: --%s has a value of type %T", name, to))
	}
}

// checkSettings checks the options as they were given.
func checkSettings(cmd *cobra.Command, table wordOptions) error {
	for _, s := range table.Settings() {
		s.Given = cmd.Flags().Changed(s.FlagName())
	}
	if err := table.Check(); err != nil {
		return usageError{err}
	}
	return nil
}

// refusedFlag says what is wrong with the text of a flag as the check of the options does.
func refusedFlag(cmd *cobra.Command, err error) error {
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) {
		switch bad.GetFlag().Value.(type) {
		case *timespan.Span, *bytesize.Size, *options.Once:
			return usageError{fmt.Errorf("--%s: %w", bad.GetFlag().Name, errors.Unwrap(bad))}
		}
	}
	return cmd.Root().FlagErrorFunc()(cmd, err)
}

// siteOptions are the flags of all commands on an image server that concern the command
// line alone.
type siteOptions struct {
	log     logOptions
	timeout timeLimit
}

func (o *siteOptions) addFlags(cmd *cobra.Command) {
	o.log.addFlags(cmd)
	cmd.Flags().Lookup("debug").Usage = "show more"
	cmd.Flags().Var(&o.timeout, "timeout", timeLimitUsage)
}

// site returns the site at root, as far as it is not the options' to say.
func (o *siteOptions) site(cmd *cobra.Command, root string) (streams.Site, error) {
	clock, err := host.NewClock(host.Epoch())
	return streams.Site{Root: root, Log: o.log.logger(cmd.ErrOrStderr()), Clock: clock}, err
}

// A summary is what a run has found and done.
type summary interface {
	fmt.Stringer
	slog.LogValuer
	Err() error // the trouble that the run itself survived
}

// report prints a summary, and makes an error of trouble if strict.
func (o *siteOptions) report(cmd *cobra.Command, log *slog.Logger, s summary, strict bool) error {
	if o.log.format == "json" {
		log.Info(cmd.Name()+" finished", "summary", s)
	}
	fmt.Fprintln(cmd.OutOrStdout(), s)
	if err := s.Err(); err != nil && strict {
		return fmt.Errorf("not all went well: %w", err)
	}
	return nil
}
