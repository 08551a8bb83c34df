package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/options"
	"imagebuilder/builtins/printable"
	"imagebuilder/streams"
	"imagebuilder/streams/words"
)

func newStreamVerifyCommand() *cobra.Command {
	var o siteOptions
	var asJSON bool
	verify := words.ForVerify(options.AsFlag)
	cmd := &cobra.Command{
		Use:   "verify ROOT",
		Short: "Check everything that is listed, and repair what can be",
		Long: `Check the index, the catalogs, their compressed forms and signatures, each listed file
with its hashes and fingerprints, and each delta by decoding it. All faults are printed;
the exit status is 1 if there are any that were not repaired.

With --repair the catalogs are made anew, as the last build made them; bad deltas are
replaced, and versions with damaged files are taken out until the files are replaced.`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			defer bound(cmd, o.timeout)()
			if err := checkSettings(cmd, verify); err != nil {
				return err
			}
			site, err := o.site(cmd, args[0])
			if err != nil {
				return err
			}
			opts := verify.Options(site)
			if opts.Signer, err = verify.Signer(opts.Clock); err != nil {
				return err
			}
			report, err := streams.Verify(cmd.Context(), opts)
			if err != nil {
				return err
			}
			if err := printFaults(cmd.OutOrStdout(), report, asJSON); err != nil {
				return err
			}
			if err := report.Err(); err != nil && !verify.Repair {
				return fmt.Errorf("%w; --repair derives again what can be", err)
			}
			return report.Err()
		},
	}
	o.addFlags(cmd)
	addSettings(cmd, verify)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printFaults prints what is wrong, with names that uploaders have chosen made harmless.
func printFaults(w io.Writer, r streams.Report, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	for _, f := range r.Faults {
		repaired := ""
		if f.Repaired {
			repaired = " (repaired)"
		}
		fmt.Fprintf(w, "%-9s  %s%s\n", f.Kind, printable.Line(f.String()), repaired)
	}
	_, err := fmt.Fprintln(w, &r)
	return err
}
