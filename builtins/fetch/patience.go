package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// How long a server may keep a build waiting. A limit on a whole download would end slow
// ones that arrive, so that it is progress that is asked for.

const (
	// defaultPatience is how long a server may take to answer, and for each further
	// progress bytes of an answer.
	defaultPatience = time.Minute

	// progress is how many bytes tell a slow server from one that goes nowhere.
	progress = 64 << 10
)

// errSlow is the cause where a server was not waited for any longer.
var errSlow = errors.New("the server is too slow")

// A patient transport ends requests whose server does not go on, in whatever state they are:
// the answers that the client reads to no end, such as redirections, may stall as well.
type patient struct {
	http.RoundTripper
	patience time.Duration
}

func (t patient) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	timer := time.AfterFunc(t.patience, func() { cancel(errSlow) })
	resp, err := t.RoundTripper.RoundTrip(req.WithContext(ctx))
	timer.Stop()
	if err != nil {
		if context.Cause(ctx) == errSlow {
			err = fmt.Errorf("%w: no answer within %s", errSlow, t.patience)
		}
		cancel(nil)
		return nil, err
	}
	resp.Body = &patientBody{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, timer: timer, patience: t.patience, left: t.patience}
	return resp, nil
}

// A patientBody counts only the time that its reader waits for the server: a slow disk is
// no fault of the other side.
type patientBody struct {
	io.ReadCloser
	ctx      context.Context
	cancel   context.CancelCauseFunc
	timer    *time.Timer // runs while something is waited for
	patience time.Duration
	left     time.Duration // until progress bytes must have come
	bytes    int           // that have come of these
}

func (b *patientBody) Read(p []byte) (int, error) {
	start := time.Now()
	b.timer.Reset(b.left)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	b.left -= time.Since(start)
	if b.bytes += n; b.bytes >= progress {
		b.left, b.bytes = b.patience, 0
	}
	if err != nil && err != io.EOF && context.Cause(b.ctx) == errSlow {
		err = fmt.Errorf("%w: less than %d bytes in %s", errSlow, progress, b.patience)
	}
	return n, err
}

func (b *patientBody) Close() error {
	b.timer.Stop()
	b.cancel(nil)
	return b.ReadCloser.Close()
}
