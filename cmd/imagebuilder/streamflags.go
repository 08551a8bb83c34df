package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/host"
	"imagebuilder/streams"
)

// What the words on an image server can be told is said by package words. Here is what
// only the command line has.

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
	epoch, err := host.CallerEpoch()
	return streams.Site{Root: root, Log: o.log.logger(cmd.ErrOrStderr()), Clock: epoch.Clock()}, err
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
