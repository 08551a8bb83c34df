package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/options"
	"imagebuilder/builtins/pack"
	"imagebuilder/builtins/timespan"
)

// Options that recipes have as well are said in tables of package options. Here they become
// flags of commands.

// A wordOptions is the options of one word.
type wordOptions interface {
	Settings() []*options.Setting
	Help(*options.Setting) string
	Check() error
}

// addSettings makes flags of options.
func addSettings(cmd *cobra.Command, table wordOptions) {
	cmd.SetFlagErrorFunc(refusedFlag)
	for _, s := range table.Settings() {
		name, help := s.FlagName(), table.Help(s)
		addSetting(cmd.Flags(), s, name, help)
		if _, ok := s.To.(*pack.Compression); ok {
			completeValues(cmd, name, pack.MethodNames())
		} else if len(s.Values) > 0 {
			completeValues(cmd, name, s.Values)
		}
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
		case *timespan.Span, *bytesize.Size, *options.Once, *pack.Compression:
			return usageError{fmt.Errorf("--%s: %w", bad.GetFlag().Name, errors.Unwrap(bad))}
		}
	}
	return cmd.Root().FlagErrorFunc()(cmd, err)
}
