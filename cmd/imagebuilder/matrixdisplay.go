package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"imagebuilder/builtins/bytesize"
	"imagebuilder/builtins/printable"
	"imagebuilder/runtime/matrix"
)

// How a matrix looks while it is built: lines where cells begin and end, and on a terminal a
// table of those that run below them.

// A cellDisplay shows cells.
type cellDisplay struct {
	mu    sync.Mutex
	w     io.Writer // gets lines
	bars  *mpb.Progress
	total int
	ended int
	close func()
}

func (o logOptions) newCellDisplay(w io.Writer, total int) *cellDisplay {
	if f, ok := w.(*os.File); !ok || !o.onTerminal(f) {
		return &cellDisplay{w: w, total: total, close: func() {}}
	}
	bars := mpb.New(mpb.WithOutput(w), mpb.WithWidth(40), mpb.WithAutoRefresh())
	return &cellDisplay{w: bars, bars: bars, total: total, close: sync.OnceFunc(bars.Wait)}
}

// Close takes the table away.
func (d *cellDisplay) Close() { d.close() }

// start shows that a cell has begun. What it says goes to lines, and done tells that it has
// ended.
func (d *cellDisplay) start(c matrix.Cell) (lines io.Writer, done func(matrix.Result)) {
	row := &cellRow{id: c.ID, since: time.Now()}
	drop := func() {}
	if d.bars == nil {
		d.print(fmt.Sprintf("%8s  %s", "start", c.ID))
	} else {
		bar := d.bars.New(0, mpb.NopStyle(), mpb.PrependDecorators(decor.Any(func(st decor.Statistics) string { return row.line(st.AvailableWidth) })))
		drop = func() { bar.Abort(true) }
	}
	return row, func(r matrix.Result) {
		drop()
		d.mu.Lock()
		d.ended++
		ended := d.ended
		d.mu.Unlock()
		d.print(fmt.Sprintf("%7.1fs  %-12s %s (%d/%d)%s", r.Took, r.Status, r.ID, ended, d.total, resultText(r)))
	}
}

// resultText is what a line says of the end of a cell.
func resultText(r matrix.Result) string {
	if r.Status == matrix.OK {
		return fmt.Sprintf(": %d steps, %d built, %v", r.Steps, r.Built, bytesize.Size(r.Bytes))
	}
	return ": " + printable.Line(r.Error)
}

func (d *cellDisplay) print(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bars != nil {
		line = home + line
	}
	fmt.Fprintln(d.w, line)
}

// A cellRow is the line of a cell that runs: for how long it has, and what it said last.
type cellRow struct {
	id    string
	since time.Time

	mu   sync.Mutex
	last string
}

// Write implements io.Writer: it keeps the last line.
func (r *cellRow) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range bytes.Lines(p) {
		if text := strings.TrimSpace(string(line)); text != "" {
			r.last = text
		}
	}
	return len(p), nil
}

func (r *cellRow) line(width int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return home + cut(fmt.Sprintf("%7.0fs… %s  %s", time.Since(r.since).Seconds(), r.id, printable.Line(r.last)), width)
}
