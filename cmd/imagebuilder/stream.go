package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"os"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/host"
	"imagebuilder/streams"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/site"
)

func newStreamCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stream",
		Short: "Maintain and serve an image server",
		Long: `Maintain the tree of a simplestreams image server, which LXD and Incus take images from:

  ROOT/images/<distribution>/<release>/<architecture>/<variant>/<version>/<files>
  ROOT/streams/v1/index.json, images.json    made from what is there

  imagebuilder stream add ROOT out/        put a built image into it
  imagebuilder stream build ROOT --page    list what is there, with a web page
  imagebuilder stream serve ROOT           try it out
  imagebuilder stream prune ROOT           take old versions out
  imagebuilder stream verify ROOT          check all that is listed

A version whose name starts with a dot is not finished: upload to .VERSION, then rename.`,
	}
	asGroup(cmd)
	cmd.AddCommand(
		newStreamAddCommand(),
		newStreamBuildCommand(),
		newStreamListCommand(),
		newStreamPruneCommand(),
		newStreamServeCommand(),
		newStreamVerifyCommand(),
	)
	return cmd
}

// treeOptions are the flags of all commands on the tree of an image server.
type treeOptions struct {
	log     logOptions
	streams []string
	version string
	natural bool
	links   bool
	workers int
	timeout timeLimit
}

// addFlags adds the flags of all commands; streams says what is meant without --stream.
func (o *treeOptions) addFlags(cmd *cobra.Command, streams string) {
	o.log.addFlags(cmd)
	cmd.Flags().Lookup("debug").Usage = "show more"
	cmd.Flags().StringSliceVar(&o.streams, "stream", nil, "`name` of a stream, a directory of images; may be repeated (default "+streams+")")
	cmd.Flags().StringVar(&o.version, "stream-version", "v1", "`name` of the directory of catalogs; clients know v1 only")
	cmd.Flags().Var(&o.timeout, "timeout", timeLimitUsage)
}

// addWorkFlags adds the flags of those that read the images.
func (o *treeOptions) addWorkFlags(cmd *cobra.Command) {
	cmd.Flags().IntVar(&o.workers, "workers", 0, "`number` of files worked on at a time (default one for each CPU)")
	cmd.Flags().BoolVar(&o.links, "follow-links", false, "follow symbolic links that stay inside ROOT")
	cmd.Flags().BoolVar(&o.natural, "natural-order", false, "order versions by the numbers in their names, v10 after v9; clients do not")
}

// tree returns the tree at root, with names that have been checked.
func (o *treeOptions) tree(cmd *cobra.Command, root string) (streams.Site, error) {
	for _, name := range o.streams {
		if err := catalog.CheckStream(name); err != nil {
			return streams.Site{}, usageError{fmt.Errorf("--stream: %w", err)}
		}
	}
	if err := catalog.CheckStreamVersion(o.version); err != nil {
		return streams.Site{}, usageError{fmt.Errorf("--stream-version: %w", err)}
	}
	clock, err := host.NewClock(os.Getenv("SOURCE_DATE_EPOCH"))
	return streams.Site{
		Root: root, Streams: o.streams, StreamVersion: o.version, Workers: o.workers, Links: o.links, NaturalOrder: o.natural,
		Log: o.log.logger(cmd.ErrOrStderr()), Clock: clock,
	}, err
}

// signOptions are the flags about signatures.
type signOptions struct{ key, passphrase string }

func (o *signOptions) addFlags(cmd *cobra.Command, does string) {
	cmd.Flags().StringVar(&o.key, "sign-key", "", "`file` with an OpenPGP private key: "+does)
	cmd.Flags().StringVar(&o.passphrase, "sign-passphrase", "", "`file` with the passphrase of that key")
}

// signer returns what signs, nil if nothing is to be signed.
func (o *signOptions) signer(clock host.Clock) (*site.Signer, error) {
	if o.key == "" {
		if o.passphrase != "" {
			return nil, usageError{fmt.Errorf("--sign-passphrase is that of --sign-key, which is missing")}
		}
		return nil, nil
	}
	key, err := os.ReadFile(o.key)
	if err != nil {
		return nil, fmt.Errorf("cannot read the signing key: %w", err)
	}
	var passphrase []byte
	if o.passphrase != "" {
		if passphrase, err = os.ReadFile(o.passphrase); err != nil {
			return nil, fmt.Errorf("cannot read the passphrase of the signing key: %w", err)
		}
	}
	return site.NewSigner(key, bytes.TrimRight(passphrase, "\r\n"), clock)
}

// safetyOptions are the flags that guard against publishing an emptied tree.
type safetyOptions struct{ streams.Safety }

func (o *safetyOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().Float64Var(&o.MaxDrop, "max-drop", 0.75, "refuse to drop more than this `share` of the listed versions, from 0 to 1")
	cmd.Flags().BoolVar(&o.Force, "force", false, "do so nevertheless")
}

func (o *safetyOptions) safety() (streams.Safety, error) {
	if math.IsNaN(o.MaxDrop) || o.MaxDrop < 0 || o.MaxDrop > 1 {
		return streams.Safety{}, usageError{fmt.Errorf("--max-drop %v: want a share from 0 to 1", o.MaxDrop)}
	}
	s := o.Safety
	s.MaxDrop = max(s.MaxDrop, math.SmallestNonzeroFloat64) // zero would mean the default
	return s, nil
}

// A summary is what a run has found and done.
type summary interface {
	fmt.Stringer
	slog.LogValuer
	Err() error // the trouble that the run itself survived
}

// report prints a summary, and makes an error of trouble if strict.
func (o *treeOptions) report(cmd *cobra.Command, log *slog.Logger, s summary, strict bool) error {
	if o.log.format == "json" {
		log.Info(cmd.Name()+" finished", "summary", s)
	}
	fmt.Fprintln(cmd.OutOrStdout(), s)
	if err := s.Err(); err != nil && strict {
		return fmt.Errorf("not all went well: %w", err)
	}
	return nil
}
