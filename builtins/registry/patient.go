package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// How long a registry is waited for that nobody needs. Whatever it does, it costs no more than
// what is got from it is worth.

// A pace is the least that is asked of a registry.
type pace struct {
	answer time.Duration // for an answer to begin, and for each piece of what is sent
	keep   time.Duration // for the answer to an upload, which has to be put away first
	piece  int64         // bytes
}

// usualPace is that of layers: what comes slower than 256 KiB a second is built. A registry of
// this machine is asked twice whether it is there, by https and by http.
var usualPace = pace{answer: 4 * time.Second, keep: time.Minute, piece: 1 << 20}

// patient is a transport that gives up.
type patient struct {
	inner http.RoundTripper
	pace  pace
}

// slowError is the cause where a registry has not kept pace.
type slowError struct{ what string }

func (e slowError) Error() string { return e.what }
func (slowError) Timeout() bool   { return true }
func (slowError) Temporary() bool { return true }

// Why a registry is waited for no longer.
var (
	errSilent = slowError{"it does not answer in time"}
	errSlow   = slowError{"it is too slow"}
)

// RoundTrip implements [http.RoundTripper].
func (p patient) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	wait := p.pace.answer
	if req.Method == http.MethodPut || req.Method == http.MethodPatch {
		wait = p.pace.keep
	}
	alarm := time.AfterFunc(wait, func() { cancel(errSilent) })
	req = req.Clone(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &sent{ReadCloser: req.Body, pace: p.pace, alarm: alarm}
	}
	resp, err := p.inner.RoundTrip(req)
	alarm.Stop()
	if err != nil {
		defer cancel(nil)
		var slow slowError
		if errors.As(context.Cause(ctx), &slow) {
			return nil, slow
		}
		return nil, err
	}
	resp.Body = &received{ReadCloser: resp.Body, pace: p.pace, ctx: ctx, cancel: cancel}
	return resp, nil
}

// sent is what is sent: each piece of it puts the alarm off.
type sent struct {
	io.ReadCloser
	pace  pace
	alarm *time.Timer
	n     int64 // since then
}

func (s *sent) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	switch s.n += int64(n); {
	case err != nil:
		s.alarm.Reset(s.pace.keep)
	case s.n >= s.pace.piece:
		s.n = 0
		s.alarm.Reset(s.pace.answer)
	}
	return n, err
}

// received is what comes. Only the time counts that is spent waiting for it.
type received struct {
	io.ReadCloser
	pace   pace
	ctx    context.Context
	cancel context.CancelCauseFunc
	n      int64 // of this piece
	waited time.Duration
}

func (r *received) Read(p []byte) (int, error) {
	start := time.Now()
	alarm := time.AfterFunc(r.pace.answer-r.waited, func() { r.cancel(errSlow) })
	n, err := r.ReadCloser.Read(p)
	alarm.Stop()
	r.waited += time.Since(start)
	if r.n += int64(n); r.n >= r.pace.piece {
		r.n, r.waited = 0, 0
	}
	var slow slowError
	if err != nil && err != io.EOF && errors.As(context.Cause(r.ctx), &slow) {
		err = slow
	}
	return n, err
}

func (r *received) Close() error {
	defer r.cancel(nil)
	return r.ReadCloser.Close()
}
