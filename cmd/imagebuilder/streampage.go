package main

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imagebuilder/streams/page"
)

// pageOptions are the flags about the web page.
type pageOptions struct {
	page.Options
	on bool
}

func (o *pageOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.on, "page", false, "make a web page, index.html; implied by the flags about it")
	f.StringVar(&o.Title, "page-title", "", "`title` of the page (default Images)")
	f.StringArrayVar(&o.Intro, "page-intro", nil, "`paragraph` of the introduction; may be repeated")
	f.StringVar(&o.Notice, "page-notice", "", "`text` that is set off from the introduction, such as how official the images are")
	f.StringVar(&o.Footer, "page-footer", "", "`text` at the bottom")
	f.StringVar(&o.Logo, "page-logo", "", "`path` of a picture, from ROOT")
	f.StringVar(&o.Remote, "page-remote", "", "`name` of the server in the commands that are shown (default images)")
	f.StringVar(&o.URL, "page-url", "", "`address` of the server; the page shows how to add it then")
	f.StringSliceVar(&o.Clients, "page-client", nil, "`program` to show commands for; may be repeated (default lxc,incus)")
	f.DurationVar(&o.StaleAfter, "page-stale", page.DefaultStale, "`age` at which the newest version counts as out of date; 0: never")
}

// options returns the settings of the page, nil if there is to be none.
func (o *pageOptions) options(cmd *cobra.Command) (*page.Options, error) {
	cmd.Flags().Visit(func(f *pflag.Flag) { o.on = o.on || strings.HasPrefix(f.Name, "page-") })
	if !o.on {
		return nil, nil
	}
	opts := o.Options
	if opts.StaleAfter == 0 {
		opts.StaleAfter = -1 * time.Hour
	}
	for _, client := range opts.Clients {
		if client != "lxc" && client != "incus" {
			return nil, usageError{fmt.Errorf("--page-client %s: want lxc or incus", client)}
		}
	}
	if u, err := url.Parse(opts.URL); opts.URL != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		return nil, usageError{fmt.Errorf("--page-url %s: want an address such as https://images.example.org", opts.URL)}
	}
	return &opts, nil
}
