package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/boot"
	"imagebuilder/builtins/lxd"
	"imagebuilder/builtins/printable"
	"imagebuilder/builtins/timespan"
)

// The command that looks whether an image boots.

type bootOptions struct {
	guest   boot.Guest
	expect  string
	timeout timespan.Span
	lxd     bool
}

func newBootCommand() *cobra.Command {
	o := bootOptions{boot.Guest{Memory: boot.DefaultMemory}, boot.DefaultExpect, timespan.Span(boot.DefaultTimeout), false}
	cmd := &cobra.Command{
		Use:   "boot IMAGE...",
		Short: "Look whether an image boots",
		Long: `Start the disk of an image in QEMU with UEFI firmware, show its serial console, and end
with success once a text appears there, by default a login prompt. It ends with an error,
which repeats the last lines, if the guest panics, stops in a shell for emergencies, is
shut down, or takes longer than the timeout.

IMAGE is a disk, qcow2 or raw, also compressed; a unified archive for LXD that holds one;
or the metadata archive and the disk of a split image. It is not changed: what the guest
writes is thrown away. The guest has no network. Without a /dev/kvm that runs
any guest, and for another architecture, the processor is emulated, which takes several
times as long.

With --lxd, IMAGE is that of a container: a unified archive, or metadata and root file
system in this order. The LXD of this machine starts it with its default profile, until
systemd is up or any other init runs; container and image are removed then.`,
		Example: `  imagebuilder boot out/disk.qcow2
  imagebuilder boot out/lxd.tar.xz out/disk.qcow2 --secure-boot
  imagebuilder boot disk.img --expect 'Welcome to' --timeout 2m
  imagebuilder boot out/lxd.tar.xz out/rootfs.squashfs --lxd`,
		Args: args(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.lxd {
				return o.tryInLXD(cmd, args)
			}
			return o.boot(cmd, args)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.expect, "expect", o.expect, "`text` to wait for, a part of a line of the console")
	f.Var(&o.timeout, "timeout", "end the guest after this `duration`, such as 90s or 1h; 0: never")
	f.Var(&o.guest.Memory, "memory", "memory of the guest, a `size` such as 2GiB")
	f.Lookup("memory").DefValue = "1GiB" // as it is said, not rounded
	f.BoolVar(&o.guest.SecureBoot, "secure-boot", false, "start only what is signed for Secure Boot, by the keys that machines come with")
	f.StringVar(&o.guest.Architecture, "architecture", "", "architecture of the guest (default that of the metadata, or of this machine)")
	f.BoolVar(&o.lxd, "lxd", false, "start a container, in the LXD of this machine")
	return cmd
}

func (o *bootOptions) boot(cmd *cobra.Command, files []string) error {
	o.guest.Files, o.guest.Timeout, o.guest.Console = files, o.timeout.Duration(), cmd.ErrOrStderr()
	for _, err := range []error{boot.CheckExpect(o.expect), o.guest.Check()} {
		if err != nil {
			return usageError{err}
		}
	}
	booted, err := o.guest.Wait(cmd.Context(), o.expect)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%q after %v, on %s\n", o.expect, tenths(booted.Took), booted.By)
	return err
}

func (o *bootOptions) tryInLXD(cmd *cobra.Command, files []string) error {
	for _, name := range []string{"expect", "memory", "secure-boot", "architecture"} {
		if cmd.Flags().Changed(name) {
			return usageError{fmt.Errorf("--%s is for virtual machines, and --lxd starts a container", name)}
		}
	}
	endingOf(cmd.Context()).more.Store(int64(lxd.CleanUp))
	daemon, err := lxd.Connect(cmd.Context(), lxd.LXD, os.Getenv)
	if err != nil {
		return err
	}
	fingerprint, err := lxd.Fingerprint(files)
	if err != nil {
		return err
	}
	trial, err := daemon.Try(cmd.Context(), lxd.Upload{Fingerprint: fingerprint, Files: files}, o.timeout.Duration())
	if err != nil {
		return fmt.Errorf("%s does not boot: %w", strings.Join(files, ", "), err)
	}
	if len(trial.Failed) > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), " warning  units have failed: %s\n", printable.Line(strings.Join(slices.Sorted(slices.Values(trial.Failed)), ", ")))
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "up after %v, in LXD\n", tenths(trial.Took))
	return err
}

func tenths(d time.Duration) time.Duration { return d.Round(time.Second / 10) }
