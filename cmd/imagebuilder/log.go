package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/printable"
)

// How progress looks. What is said, and when, is decided below; this file turns records
// into lines, bars or JSON.

// logOptions are the flags about progress, which goes to standard error.
type logOptions struct {
	format string
	debug  bool
}

// addFlags adds the flags, and the check of their values, which comes before the command.
func (o *logOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.format, "log-format", "text", "`format` of progress: text or json")
	cmd.Flags().BoolVar(&o.debug, "debug", false, "show every command")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if o.format != "text" && o.format != "json" {
			return usageError{fmt.Errorf("--log-format %s: want text or json", o.format)}
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
	return slog.New(&textHandler{w: w, level: level})
}

// A display shows the progress of a run: lines, and on a terminal what runs now and
// bars of what is counted in bytes below them.
type display struct {
	log      *slog.Logger
	progress fetch.Progress // nil without a terminal
	steps    *stepCount     // nil without a terminal
	close    func()
}

// A stepCount is how many steps a run had, and how many of them were in the cache.
type stepCount struct{ all, cached int }

// summary is the last line on a terminal.
func (c stepCount) summary(took time.Duration, results []build.Result) string {
	var size int64
	for _, r := range results {
		size += r.Size
	}
	text := fmt.Sprintf("%7.1fs  steps: %d, cached: %d", took.Seconds(), c.all, c.cached)
	if len(results) > 0 {
		text += fmt.Sprintf(", results: %d", len(results))
	}
	if size > 0 {
		text += fmt.Sprintf(" of %v", bytesize.Size(size))
	}
	return text
}

// newDisplay shows a run on a terminal as such, and elsewhere as lines that can be kept.
func (o logOptions) newDisplay(w io.Writer) *display {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || o.format == "json" {
		return &display{log: o.logger(w), close: func() {}}
	}
	bars := mpb.New(mpb.WithOutput(w), mpb.WithWidth(40), mpb.WithAutoRefresh())
	handler := newTerminalHandler(bars, o.debug)
	return &display{log: slog.New(handler), progress: lengths{bars}, steps: &handler.steps, close: sync.OnceFunc(func() {
		handler.status.Abort(true)
		bars.Wait()
	})}
}

// Close takes the bars away.
func (d *display) Close() { d.close() }

// lengths shows a bar for each download, and for whatever else is counted in bytes.
type lengths struct{ bars *mpb.Progress }

func (d lengths) Start(name string, total int64) io.WriteCloser {
	bar := d.bars.AddBar(total, mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name("          "+printable.Line(name)+" ")),
		mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f")))
	return &barWriter{bar}
}

// A barWriter counts what a download brings; its bar goes when the download ends, however.
type barWriter struct{ bar *mpb.Bar }

func (b *barWriter) Write(p []byte) (int, error) {
	b.bar.IncrBy(len(p))
	return len(p), nil
}

func (b *barWriter) Close() error {
	b.bar.Abort(true)
	return nil
}

// terminalHandler prints lines and keeps one below them that shows what runs now.
type terminalHandler struct {
	textHandler
	status *mpb.Bar

	mu      sync.Mutex
	running string // empty: nothing does
	since   time.Time
	steps   stepCount
}

// newTerminalHandler puts the line about what runs below the bars, whenever they come.
func newTerminalHandler(bars *mpb.Progress, debug bool) *terminalHandler {
	h := &terminalHandler{textHandler: textHandler{w: bars, level: slog.LevelInfo}}
	if debug {
		h.level = slog.LevelDebug
	}
	h.status = bars.New(0, mpb.NopStyle(), mpb.BarPriority(1<<30),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return h.now() })))
	return h
}

// now is the line about what runs.
func (h *terminalHandler) now() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running == "" {
		return ""
	}
	return fmt.Sprintf("%7.0fs… %s", time.Since(h.since).Seconds(), h.running)
}

func (h *terminalHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h *terminalHandler) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *terminalHandler) WithGroup(string) slog.Handler            { return h }

func (h *terminalHandler) Handle(ctx context.Context, r slog.Record) error {
	h.note(r)
	if r.Level < h.level {
		return nil
	}
	return h.textHandler.Handle(ctx, r)
}

// note remembers which step runs from the records that steps begin and end with.
func (h *terminalHandler) note(r slog.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch r.Message {
	case "running":
		f := fieldsOf(r)
		h.running, h.since = fmt.Sprintf("%-14s %s", f["step"], shorten(f["what"], 60)), time.Now()
	case "step":
		h.running = ""
		h.steps.all++
		if fieldsOf(r)["cached"] == "true" {
			h.steps.cached++
		}
	}
}

// textHandler prints one line for each record: for a step its time, what asked for it
// and what it did.
type textHandler struct {
	mu    sync.Mutex
	w     io.Writer
	level slog.Level
}

func (h *textHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }
func (h *textHandler) WithAttrs([]slog.Attr) slog.Handler           { return h }
func (h *textHandler) WithGroup(string) slog.Handler                { return h }

func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, lineOf(r)+"\n")
	return err
}

// lineOf is the line of a record. What is no step is indented to where the text of steps begins.
func lineOf(r slog.Record) string {
	f := fieldsOf(r)
	switch {
	case r.Message == "step":
		took, _ := time.ParseDuration(f["took"])
		return stepLine(build.Done{Step: f["step"], What: f["what"], Took: took.Seconds(), Cached: f["cached"] == "true", Because: f["because"]})
	case r.Level >= slog.LevelError:
		return "   error  " + printable.Text(r.Message) + rest(r)
	case r.Level >= slog.LevelWarn:
		return " warning  " + printable.Text(r.Message) + rest(r)
	case f["at"] != "" && len(f) == 1: // printed by the recipe
		return strings.Repeat(" ", 10) + printable.Line(f["at"]) + ": " + printable.Text(r.Message)
	}
	return strings.Repeat(" ", 10) + printable.Text(r.Message) + rest(r)
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
