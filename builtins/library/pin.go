package library

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/layer"
)

// How a library comes to be pinned.

// MakePin downloads the archive that a pin names and returns the pin with what it lacks: the
// digest, and with guess the directory that all of the archive is in. An archive whose digest
// is not given must come by https.
func MakePin(ctx context.Context, pin Pin, guess bool, o Options) (Pin, error) {
	r := fetch.Request{URL: pin.URL, SHA256: pin.SHA256, MaxSize: maxArchive, NoPage: true}
	if err := errors.Join(CheckName(pin.Name), checkPrefix(pin), r.Check()); err != nil {
		return pin, err
	}
	if scheme, _, _ := strings.Cut(pin.URL, ":"); pin.SHA256 == "" && !strings.EqualFold(scheme, "https") {
		return pin, fmt.Errorf("anybody on the way can change what comes from %s: give its digest by --sha256, or a URL with https", pin.URL)
	}
	if pin.SHA256 == "" {
		r.Trust = new(fetch.Trust) // so that no redirection leads from https to http
	}
	err := o.withStore(func(store *layer.Store) error {
		f, err := o.client(store).Fetch(ctx, r)
		if err != nil {
			return err
		}
		pin.SHA256 = f.SHA256
		if guess {
			if pin.Prefix, err = usual.commonDirectory(ctx, f.Path); err != nil {
				return fmt.Errorf("cannot use %s: %w", pin.URL, err)
			}
		}
		_, err = o.keep(ctx, store, pin, func() (string, error) { return f.Path, nil })
		return err
	})
	return pin, err
}
