package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/printable"
)

// How progress looks. What is said, and when, is decided below; this file turns records
// into lines, bars or JSON.

// logOptions are the flags about progress, which goes to standard error.
type logOptions struct {
	format   string
	progress string
	debug    bool
}

// addFlags adds the flags, and the check of their values, which comes before the command.
func (o *logOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.format, "log-format", "text", "`format` of progress: text or json")
	cmd.Flags().StringVar(&o.progress, "progress", "auto", "`kind` of progress: auto, or plain lines with all that programs print")
	cmd.Flags().BoolVar(&o.debug, "debug", false, "show every command, and the way of errors through the standard library")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if o.format != "text" && o.format != "json" {
			return usageError{fmt.Errorf("--log-format %s: want text or json", o.format)}
		}
		if o.progress != "auto" && o.progress != "plain" {
			return usageError{fmt.Errorf("--progress %s: want auto or plain", o.progress)}
		}
		return nil
	}
}

// logger returns a log of plain lines or JSON, for what has no terminal or wants none.
func (o logOptions) logger(w io.Writer) *slog.Logger {
	level := slog.LevelInfo
	if o.debug {
		level = slog.LevelDebug
	}
	if o.format == "json" {
		return slog.New(newJSONHandler(w, level))
	}
	return slog.New(&textHandler{w: w, level: level, output: o.progress == "plain"})
}

// textHandler prints one line for each record: for a step its time, what asked for it
// and what it did.
type textHandler struct {
	mu     sync.Mutex
	w      io.Writer
	level  slog.Level
	output bool // lines that programs print, too
}

func (h *textHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level || h.output }
func (h *textHandler) WithAttrs([]slog.Attr) slog.Handler           { return h }
func (h *textHandler) WithGroup(string) slog.Handler                { return h }

func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	isOutput := r.Message == "output"
	if isOutput && !h.output || !isOutput && r.Level < h.level {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, lineOf(r)+"\n")
	return err
}

// lineOf is the line of a record. What is no step is indented to where the text of steps begins.
func lineOf(r slog.Record) string {
	f := fieldsOf(r)
	switch {
	case r.Message == "running":
		line := fmt.Sprintf("%8s  %-14s %s", "start", printable.Line(f["step"]), shorten(f["what"], 100))
		return strings.TrimRight(line, " ") + place(f["at"])
	case r.Message == "output":
		return strings.Repeat(" ", 10) + "| " + printable.Line(f["line"])
	case r.Message == "printed": // by the recipe
		return strings.Repeat(" ", 10) + printable.Line(f["at"]) + ": " + printable.Text(f["text"])
	case r.Message == "step":
		took, _ := time.ParseDuration(f["took"])
		return stepLine(build.Done{Step: f["step"], What: f["what"], Took: took.Seconds(), Cached: f["cached"] == "true", Because: f["because"]})
	case r.Level >= slog.LevelError:
		return "   error  " + printable.Text(r.Message) + rest(r)
	case r.Level >= slog.LevelWarn:
		return " warning  " + printable.Text(r.Message) + rest(r)
	}
	return strings.Repeat(" ", 10) + printable.Text(r.Message) + rest(r)
}

// place is where a step stands in the recipe, in brackets.
func place(at string) string {
	if at == "" {
		return ""
	}
	return "  (" + printable.Line(at) + ")"
}

// fieldsOf returns the attributes of a record as text.
func fieldsOf(r slog.Record) map[string]string {
	f := make(map[string]string)
	r.Attrs(func(a slog.Attr) bool {
		f[a.Key] = a.Value.String()
		return true
	})
	return f
}

// rest prints the attributes behind the message, which may be names of files that
// others made.
func rest(r slog.Record) string {
	var parts []string
	r.Attrs(func(a slog.Attr) bool {
		parts = append(parts, a.Key+"="+printable.Line(a.Value.String()))
		return true
	})
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// shorten is a text as it fits on a line: its first one, of so many characters.
func shorten(s string, max int) string {
	line, _, more := strings.Cut(s, "\n")
	line = printable.Line(line)
	if runes := []rune(line); len(runes) > max {
		return string(runes[:max-1]) + "…"
	}
	if more {
		line += " …"
	}
	return line
}
