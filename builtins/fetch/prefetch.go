package fetch

import (
	"context"
	"encoding/json"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Downloads side by side. A recipe asks for one file after the other; what is known to be
// asked for later is fetched meanwhile.

// ahead is how many downloads are begun at a time before they are asked for. A host is
// asked for fewer: see perHost.
const ahead = 8

// A Wish is a file that will be asked for: by a request, once its digest is known from a
// checksum file if there is one.
type Wish struct {
	Request
	Checksums *Checksums
}

// Prefetch begins to fetch files that will be asked for, in their order. What goes wrong with
// one, who asks for it is told. stop ends what has not been asked for, and waits until it
// has ended.
func (c *Client) Prefetch(ctx context.Context, wishes []Wish) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() {
		var group errgroup.Group
		group.SetLimit(ahead)
		for _, w := range wishes {
			group.Go(func() error { c.wish(ctx, w); return nil })
		}
		group.Wait()
	})
	return func() {
		cancel()
		all.Wait()
	}
}

func (c *Client) wish(ctx context.Context, w Wish) {
	r := w.Request
	if w.Checksums != nil {
		listed, err := c.Listed(ctx, *w.Checksums, r.URL)
		if err != nil || r.Narrow(listed) != nil {
			return // who asks for the file will find the same
		}
	}
	if ctx.Err() != nil || r.Check() != nil {
		return
	}
	r = r.normal()
	id := r.id()
	c.mu.Lock()
	if c.calls[id] != nil {
		c.mu.Unlock()
		return
	}
	begun := c.begin(id)
	c.mu.Unlock()
	begun.file, begun.err = c.once(ctx, r)
	c.mu.Lock()
	if begun.err == nil || begun.asked || ctx.Err() != nil {
		delete(c.calls, id)
	}
	c.mu.Unlock()
	close(begun.done)
}

// A call is a request that is being answered, or an error that nobody has been told of yet.
type call struct {
	done  chan struct{} // closed when it has been
	asked bool          // somebody waits for it
	file  Fetched
	err   error
}

// begin is called with the lock of the client.
func (c *Client) begin(id string) *call {
	if c.calls == nil {
		c.calls = make(map[string]*call)
	}
	begun := &call{done: make(chan struct{})}
	c.calls[id] = begun
	return begun
}

// together returns the file of a request, which is made once for all who want it meanwhile.
func (c *Client) together(ctx context.Context, r Request) (Fetched, error) {
	id := r.id()
	c.mu.Lock()
	if other := c.calls[id]; other != nil {
		other.asked = true
		select {
		case <-other.done: // an error, which is told once
			delete(c.calls, id)
		default:
		}
		c.mu.Unlock()
		select {
		case <-other.done:
			return other.file, other.err
		case <-ctx.Done():
			return Fetched{}, context.Cause(ctx)
		}
	}
	begun := c.begin(id)
	c.mu.Unlock()
	begun.file, begun.err = c.once(ctx, r)
	c.mu.Lock()
	delete(c.calls, id)
	c.mu.Unlock()
	close(begun.done)
	return begun.file, begun.err
}

// id tells requests apart.
func (r Request) id() string {
	trust := ""
	if r.Trust != nil {
		t := *r.Trust
		t.Keys = []string{t.id()}
		text, _ := json.Marshal(t)
		trust = string(text)
	}
	r.Trust, r.Via, r.Label = nil, nil, "" // the last two tell ways to the same file apart
	text, _ := json.Marshal([]any{r, trust})
	return string(text)
}
