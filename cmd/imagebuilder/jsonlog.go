package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/problems"
	"imagebuilder/runtime"
)

// The log for programs, by --log-format json: an object on each line, with time, level and msg.
// msg tells what it is about:
//
//	running   a step begins to be done: step, at (place in the recipe), what, n (its number), of (how
//	          many there are, as far as the plan knows), rootfs, target, log (file of its output)
//	output    a line that its programs print: step, at, line
//	step      it has ended, or was in the cache: step, at, what, took (seconds), cached, n, of,
//	          rootfs, target, because (with --explain)
//	finished  the run has ended well: took, steps (their number), results (path, size in bytes, sha256)
//	failed    it has not, once for each cause: error, trace (at, in, source), and of a program
//	          that failed command, status, output (its last lines), log
//
// Anything else is a message for people; level WARN and ERROR are what they say.

// jsonHandler shows what programs print, whatever the level is.
type jsonHandler struct {
	slog.Handler
	level slog.Level
}

func newJSONHandler(w io.Writer, level slog.Level) *jsonHandler {
	return &jsonHandler{level: level, Handler: slog.NewJSONHandler(w, &slog.HandlerOptions{
		Level: slog.LevelDebug,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Value.Kind() == slog.KindDuration {
				return slog.Float64(a.Key, a.Value.Duration().Seconds())
			}
			return a
		},
	})}
}

// Handle implements slog.Handler.
func (h *jsonHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "output" {
		r.Level = max(r.Level, slog.LevelInfo)
	}
	if r.Level < h.level {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *jsonHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &jsonHandler{h.Handler.WithAttrs(attrs), h.level}
}

// WithGroup implements slog.Handler.
func (h *jsonHandler) WithGroup(name string) slog.Handler {
	return &jsonHandler{h.Handler.WithGroup(name), h.level}
}

// logsJSON tells whether a command was told to log JSON.
func logsJSON(cmd *cobra.Command) bool {
	f := cmd.Flags().Lookup("log-format")
	return f != nil && f.Value.String() == "json"
}

// logFailure logs why a run has failed.
func logFailure(err error) {
	log := slog.New(newJSONHandler(os.Stderr, slog.LevelInfo))
	for _, one := range problems.List(err) {
		attrs := []any{}
		var e *runtime.Error
		if errors.As(one, &e) {
			type frame struct {
				At     string `json:"at"`
				In     string `json:"in,omitempty"` // the function
				Source string `json:"source,omitempty"`
			}
			var trace []frame
			for _, f := range e.Frames {
				trace = append(trace, frame{f.Pos, f.Name, f.Source})
			}
			one, attrs = e.Err, append(attrs, "trace", trace)
		}
		var exit *host.ExitError
		if errors.As(one, &exit) {
			attrs = append(attrs, "command", exit.Args, "status", exit.Err.Error(), "output", exit.Output, "log", exit.Log)
		}
		log.Error("failed", append([]any{"error", one.Error()}, attrs...)...)
	}
}
