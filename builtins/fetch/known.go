package fetch

import (
	"context"
	"errors"

	"imagebuilder/builtins/layer"
)

// Known returns the file of a URL as it was last downloaded, without asking the server
// whether it has changed since. ErrNotFound: it never was.
func (c *Client) Known(ctx context.Context, url string) (Fetched, error) {
	e, err := c.Store.Revise(ctx, origin(Request{URL: url}), func(old *layer.Entry, _ string) (bool, error) {
		if old == nil {
			return false, ErrNotFound
		}
		_, err := c.known(old.Data())
		return true, err
	})
	if err != nil {
		return Fetched{}, errors.Join(ErrNotFound, err)
	}
	return fetched(e)
}
