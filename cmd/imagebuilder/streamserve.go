package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/host"
	"imagebuilder/streams/serve"
)

func newStreamServeCommand() *cobra.Command {
	var o serve.ServerOptions
	var log logOptions
	cmd := &cobra.Command{
		Use:   "serve ROOT",
		Short: "Serve a tree over https",
		Long: `Serve a tree over https until interrupted, for trying it out and for small sites; any web
server can do it. The address is printed once it answers. --debug shows the requests.

Without --cert it uses a certificate of its own, made on first use, which clients have to
trust. Where all may, on Debian and Ubuntu:

  sudo cp ` + defaultServeState + `/cert.pem /usr/local/share/ca-certificates/imagebuilder.crt
  sudo update-ca-certificates       and restart LXD
  lxc remote add my https://127.0.0.1:8443 --protocol simplestreams

It says when the certificate is not for the address or for a --name. Clients that do not
read what they have asked for are dropped after half a minute.

It is an import server as well: without a remote, an image can be imported by any of its
aliases, for the first of the client's architectures that has it. Clients take such an
image in one piece only, so it is made of its parts on the way; its fingerprint is another
than that in the catalogs. A container is preferred unless the address says ?type=vm:

  lxc image import https://127.0.0.1:8443/debian/trixie --alias trixie`,
		Args: args(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Root = args[0]
			endingOf(cmd.Context()).more.Store(int64(o.Grace))
			return runStreamServe(cmd, o, log)
		},
	}
	log.addFlags(cmd)
	f := cmd.Flags()
	f.Lookup("debug").Usage = "show requests"
	f.StringVar(&o.Address, "address", serve.DefaultAddress, "`host:port` to listen on; port 0 is any that is free")
	f.StringVar(&o.CertFile, "cert", "", "`file` with the certificate, in PEM")
	f.StringVar(&o.KeyFile, "key", "", "`file` with the key of the certificate, in PEM")
	f.StringSliceVar(&o.Names, "name", nil, "further `name` or address for the own certificate when it is made; may be repeated")
	f.StringVar(&o.StateDir, "state-dir", "", "`directory` to keep the own certificate in (default "+defaultServeState+" or that of the user)")
	f.BoolVar(&o.Plain, "http", false, "serve http; LXD and Incus refuse a remote without https")
	f.BoolVar(&o.Links, "follow-links", false, "follow symbolic links that stay inside ROOT, as build has listed them")
	f.DurationVar(&o.Grace, "grace", 10*time.Second, "`duration` that requests under way get at the end")
	return cmd
}

// runStreamServe serves until the context ends. Only the address goes to standard output, once
// it answers, so that a script can wait for it.
func runStreamServe(cmd *cobra.Command, o serve.ServerOptions, log logOptions) (err error) {
	if (o.CertFile == "") != (o.KeyFile == "") {
		return usageError{errors.New("--cert and --key go together")}
	}
	if o.Plain && o.CertFile != "" {
		return usageError{errors.New("--http serves without the certificate of --cert")}
	}
	o.Log = log.logger(cmd.ErrOrStderr())
	if o.StateDir == "" {
		o.StateDir = serveState()
	}
	o.Clock = host.SystemClock // a certificate is of today whatever images are of
	server, err := serve.Listen(o)
	if err != nil {
		return fmt.Errorf("cannot serve %s: %w", o.Root, err)
	}
	if !o.Plain && o.CertFile == "" {
		o.Log.Info("Clients have to trust the certificate", "file", server.CertFile())
	}
	fmt.Fprintln(cmd.OutOrStdout(), server.URL())
	return server.Run(cmd.Context())
}

// defaultServeState is where root keeps the certificate: not in the tree, whose files
// other web servers may show to everybody.
const defaultServeState = "/var/lib/imagebuilder/serve"

// serveState is where the certificate is if nobody says it.
func serveState() string {
	if os.Geteuid() == 0 {
		return defaultServeState
	}
	dir := os.Getenv("XDG_STATE_HOME")
	if dir == "" {
		dir = filepath.Join(os.Getenv("HOME"), ".local", "state")
	}
	return filepath.Join(dir, "imagebuilder", "serve")
}
