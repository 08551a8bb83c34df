package main

import (
	"context"
	_ "embed"
	"errors"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/host"
	"imagebuilder/builtins/problems"
	"imagebuilder/runtime"
)

// The log for programs, by --log-format json: an object on each line, to the last.

// logSchema is what those objects are, for programs and people.
//
//go:embed log.schema.json
var logSchema []byte

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
