package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/boot"
	"imagebuilder/builtins/timespan"
)

// The command that looks whether an image boots.

func newBootCommand() *cobra.Command {
	guest := boot.Guest{Memory: boot.DefaultMemory}
	timeout := timespan.Span(boot.DefaultTimeout)
	expect := boot.DefaultExpect
	cmd := &cobra.Command{
		Use:   "boot IMAGE...",
		Short: "Look whether an image boots",
		Long: `Start the disk of an image in QEMU with UEFI firmware, show its serial console, and end
with success once a text appears there, by default a login prompt. It ends with an error,
which repeats the last lines, if the guest panics, stops in a shell for emergencies, is
shut down, or takes longer than the timeout.

IMAGE is a disk, qcow2 or raw, also compressed; a unified archive for LXD that holds one;
or the metadata archive and the disk of a split image. It is not changed: what the guest
writes is thrown away. The guest has no network. Without /dev/kvm, and for another
architecture, the processor is emulated, which takes several times as long.`,
		Example: `  imagebuilder boot out/disk.qcow2
  imagebuilder boot out/lxd.tar.xz out/disk.qcow2 --secure-boot
  imagebuilder boot disk.img --expect 'Welcome to' --timeout 2m`,
		Args: args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			guest.Files, guest.Timeout, guest.Console = args, timeout.Duration(), cmd.ErrOrStderr()
			for _, err := range []error{boot.CheckExpect(expect), guest.Check()} {
				if err != nil {
					return usageError{err}
				}
			}
			booted, err := guest.Wait(cmd.Context(), expect)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%q after %v, on %s\n", expect, booted.Took.Round(time.Second/10), booted.By)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&expect, "expect", expect, "`text` to wait for, a part of a line of the console")
	f.Var(&timeout, "timeout", "end the guest after this `duration`, such as 90s or 1h; 0: never")
	f.Var(&guest.Memory, "memory", "memory of the guest, a `size` such as 2GiB")
	f.Lookup("memory").DefValue = "1GiB" // as it is said, not rounded
	f.BoolVar(&guest.SecureBoot, "secure-boot", false, "start only what is signed for Secure Boot, by the keys that machines come with")
	f.StringVar(&guest.Architecture, "architecture", "", "architecture of the guest (default that of the metadata, or of this machine)")
	return cmd
}
