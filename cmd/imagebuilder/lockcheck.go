package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/lock"
	"imagebuilder/builtins/pkgproxy"
	"imagebuilder/builtins/problems"
)

// What servers still have of a lock. Packages never change under their names, so that it is
// enough to ask for their sizes.

// checkServers says which files of a lock no server has.
func (o *lockOptions) checkServers(cmd *cobra.Command, file string) (err error) {
	f, err := lock.Read(file)
	if err != nil {
		return err
	}
	dir, err := o.build.cache.directory()
	if err != nil {
		return err
	}
	log := o.build.log.logger(cmd.ErrOrStderr())
	store, err := layer.Open(dir, layer.Options{Log: log})
	if err != nil {
		return err
	}
	defer func() { err = problems.Join(err, store.Close()) }()
	client := &fetch.Client{Store: store, Log: log, GiveUp: true}
	bodies := lock.Bodies{Dir: store.Bodies()}
	gets := f.Gets()
	wrong := make([]error, len(gets))
	var group errgroup.Group
	group.SetLimit(8)
	for i, get := range gets {
		group.Go(func() error { wrong[i] = served(cmd.Context(), client, f, get); return context.Cause(cmd.Context()) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	lost := 0
	for i, why := range wrong {
		if why == nil {
			continue
		}
		lost++
		kept := ""
		if bodies.Has(gets[i].Content) {
			kept = " (the cache has it)"
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %v%s\n", gets[i].URL, why, kept)
	}
	if lost > 0 {
		return fmt.Errorf("%d of %d files of %s are served no more: name a snapshot by a line 'mirror PREFIX PREFIX', or lock anew with --update", lost, len(gets), file)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "all %d files of %s are still served\n", len(gets), file)
	return nil
}

// served tells why none of those that may have a file has it; nil: one does.
func served(ctx context.Context, client *fetch.Client, f *lock.File, get lock.Get) error {
	var errs []error
	for _, place := range f.Places(get.URL) {
		err := serves(ctx, client, place, get.Content)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errs[0]
}

func serves(ctx context.Context, client *fetch.Client, place string, c lock.Content) error {
	u, err := url.Parse(place)
	if err != nil {
		return err
	}
	other := errors.New("the server has another file")
	if pkgproxy.IsPackage(u.Path) {
		head, err := client.Head(ctx, place)
		switch {
		case errors.Is(err, fetch.ErrNotFound):
			return errors.New("the server has it no more")
		case err == nil && head.Size >= 0 && head.Size != c.Size:
			return other
		}
		return err
	}
	got, err := client.Fetch(ctx, fetch.Request{URL: place})
	switch {
	case errors.Is(err, fetch.ErrNotFound):
		return errors.New("the server has it no more")
	case err == nil && got.SHA256 != c.SHA256:
		return other
	}
	return err
}
