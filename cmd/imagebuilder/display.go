package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/printable"
	"imagebuilder/runtime"
)

// How a run looks while it goes on, and what it came to.

// A display shows the progress of a run: lines, and on a terminal what runs now and
// bars of what is counted in bytes below them.
type display struct {
	log      *slog.Logger
	progress fetch.Progress // nil without a terminal
	close    func()
}

// newDisplay shows a run on a terminal as such, and elsewhere as lines that can be kept.
func (o logOptions) newDisplay(w io.Writer) *display {
	f, ok := w.(*os.File)
	if !ok || !o.onTerminal(f) {
		return &display{log: o.logger(w), close: func() {}}
	}
	bars := mpb.New(mpb.WithOutput(w), mpb.WithWidth(40), mpb.WithAutoRefresh())
	handler := newTerminalHandler(bars, f, o.debug)
	narrower := make(chan os.Signal, 1)
	signal.Notify(narrower, syscall.SIGWINCH)
	go func() {
		for range narrower {
			handler.rewrap()
		}
	}()
	return &display{log: slog.New(handler), progress: lengths{bars}, close: sync.OnceFunc(func() {
		signal.Stop(narrower)
		close(narrower)
		handler.status.Abort(true)
		bars.Wait()
	})}
}

// onTerminal tells whether progress that goes to a file is shown as a terminal can.
func (o logOptions) onTerminal(f *os.File) bool {
	return term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" && o.format != "json" && o.progress != "plain"
}

// Close takes the bars away.
func (d *display) Close() { d.close() }

// home begins each line that may be the first that is drawn over another: where a key was echoed,
// such as ^C, the cursor is not at its begin.
const home = "\r"

// lengths shows a bar for each download, and for whatever else is counted in bytes.
type lengths struct{ bars *mpb.Progress }

func (d lengths) Start(name string, total int64) io.WriteCloser {
	bar := d.bars.AddBar(total, mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Any(func(st decor.Statistics) string {
			return home + "          " + cut(printable.Line(name), st.AvailableWidth-52) + " " // the rest is for the numbers and a bar
		})),
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

// terminalHandler prints lines, which it cuts at the terminal's width, and keeps two below
// them: what runs now, and what that has printed last.
type terminalHandler struct {
	textHandler
	terminal *os.File
	status   *mpb.Bar

	mu      sync.Mutex
	running string // empty: nothing does
	last    string // printed by it
	since   time.Time
	drawn   int // columns of the terminal when the lines were drawn
}

// newTerminalHandler puts the lines about what runs below the bars, whenever they come.
func newTerminalHandler(bars *mpb.Progress, terminal *os.File, debug bool) *terminalHandler {
	h := &terminalHandler{textHandler: textHandler{w: bars, level: slog.LevelInfo}, terminal: terminal}
	if debug {
		h.level = slog.LevelDebug
	}
	h.status = bars.New(0, mpb.NopStyle(), mpb.BarPriority(1<<30),
		mpb.PrependDecorators(decor.Any(func(st decor.Statistics) string { return h.now(st.AvailableWidth) })),
		mpb.BarExtender(mpb.BarFillerFunc(func(w io.Writer, st decor.Statistics) error {
			_, err := io.WriteString(w, h.printed(st.AvailableWidth))
			return err
		}), false))
	return h
}

// now is the line about what runs.
func (h *terminalHandler) now(width int) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.drawn = width
	return home + h.runningLine(width)
}

func (h *terminalHandler) runningLine(width int) string {
	if h.running == "" {
		return ""
	}
	return cut(fmt.Sprintf("%7.0fs… %s", time.Since(h.since).Seconds(), h.running), width)
}

// printed is the line with what it has printed last.
func (h *terminalHandler) printed(width int) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if line := h.printedLine(width); line != "" {
		return line + "\n"
	}
	return ""
}

func (h *terminalHandler) printedLine(width int) string {
	if h.running == "" || h.last == "" {
		return ""
	}
	return cut("          | "+printable.Line(h.last), width)
}

// rewrap takes away what a terminal that has become narrower has made of lines that were drawn
// before: each has taken more rows than those that the next one is drawn over.
func (h *terminalHandler) rewrap() {
	width := h.width()
	h.mu.Lock()
	more := 0
	for _, line := range []string{h.runningLine(h.drawn), h.printedLine(h.drawn)} {
		if n := utf8.RuneCountInString(line); n > 0 {
			more += (n - 1) / width
		}
	}
	h.mu.Unlock()
	if more > 0 {
		fmt.Fprintf(h.w, "\x1b[%dA\x1b[J", more)
	}
}

func (h *terminalHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h *terminalHandler) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *terminalHandler) WithGroup(string) slog.Handler            { return h }

func (h *terminalHandler) Handle(_ context.Context, r slog.Record) error {
	h.note(r)
	if r.Level < h.level || r.Message == "running" || r.Message == "output" {
		return nil
	}
	text := lineOf(r)
	if r.Message == "step" { // what people are to read is not cut
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			lines[i] = cut(line, h.width())
		}
		text = strings.Join(lines, "\n")
	}
	h.textHandler.mu.Lock()
	defer h.textHandler.mu.Unlock()
	_, err := io.WriteString(h.w, home+text+"\n")
	return err
}

// width is that of the terminal as it is now.
func (h *terminalHandler) width() int {
	width, _, err := term.GetSize(int(h.terminal.Fd()))
	if err != nil || width < 1 {
		return 80
	}
	return width
}

// note remembers what runs, and what that prints.
func (h *terminalHandler) note(r slog.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch r.Message {
	case "running":
		f := fieldsOf(r)
		in := ""
		if f["target"] != "" { // a fork: there are several that this may be about
			in = "<" + printable.Line(f["rootfs"]+" "+f["target"]) + "> "
		}
		h.running = fmt.Sprintf("%s%-14s %s%s", stepNumber(f), printable.Line(f["step"]), in, shorten(f["what"], 100))
		h.last, h.since = "", time.Now()
	case "output":
		h.last = fieldsOf(r)["line"]
	case "step":
		h.running = ""
	}
}

// stepNumber says which step it is, of how many if that is known.
func stepNumber(f map[string]string) string {
	switch {
	case f["n"] == "":
		return ""
	case f["of"] == "":
		return f["n"] + " "
	}
	return f["n"] + "/" + f["of"] + " "
}

// cut is a line as it fits into so many columns.
func cut(line string, width int) string {
	if runes := []rune(line); len(runes) > width && width > 0 {
		return string(runes[:width-1]) + "…"
	}
	return line
}

// printSummary prints what a run came to.
func printSummary(w io.Writer, run runtime.Run) {
	cached := 0
	for _, step := range run.Steps {
		if step.Cached {
			cached++
		}
	}
	text := fmt.Sprintf("%7.1fs  steps: %d", run.Took, len(run.Steps))
	if cached > 0 {
		text += fmt.Sprintf(", cached: %d", cached)
	}
	if run.Taken > 0 {
		text += fmt.Sprintf(", taken from others: %d", run.Taken)
	}
	if run.Given > 0 {
		text += fmt.Sprintf(", given to others: %d", run.Given)
	}
	var size int64
	for _, r := range run.Results {
		size += r.Size
	}
	if len(run.Results) > 0 {
		text += fmt.Sprintf(", results: %d", len(run.Results))
	}
	if size > 0 {
		text += fmt.Sprintf(" of %v", bytesize.Size(size))
	}
	fmt.Fprintln(w, text)
	if len(run.Steps) == 0 {
		return
	}
	longest := slices.MaxFunc(run.Steps, func(a, b build.Done) int { return cmp.Compare(a.Took, b.Took) })
	if longest.Took >= minLongest {
		fmt.Fprintf(w, "%7.1fs  of it %s%s\n", longest.Took, printable.Line(longest.Step), place(longest.At))
	}
}

// minLongest is how many seconds a step takes at least that is worth a word.
const minLongest = 1
