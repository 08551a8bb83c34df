package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/pkgproxy"
	"imagebuilder/builtins/sandbox"
)

// The worker that does things. What is done is in the files of the effects; here is what
// all of them go through: keys, freshness, logs, memory of answers.

// A Builder is the Worker that does what is asked for. Its fields are set before its
// first use.
type Builder struct {
	Store   *layer.Store
	Fetch   *fetch.Client
	Log     *slog.Logger
	Target  string         // directory that gets the results
	LogDir  string         // directory for the output of steps
	History *layer.History // what the steps of the last run depended on
	Explain bool           // say why a step is done
	Planned int            // how many steps a plan has; 0: nobody knows
	Epoch   host.Epoch     // what is made is dated by it, and programs see it
	Sources *Sources       // nil: downloads are only in the store
	Now     time.Time      // when the run happens, for all that it makes
	Clock   host.Clock     // by which keys have the day, whatever Now is; nil: the system's
	Tools   []string       // those of [Choices] that are to be used; nil: those that are there

	Documents bool // beside images is said what is in them

	// Failed is told where a change has failed, before what it has done goes; nil: nobody is.
	Failed func(context.Context, *Room)

	Progress fetch.Progress // of long parts besides downloads; nil: none is shown

	Results []Result // in the order in which they were made
	Done    []Done   // steps, in their order

	logs    int // files of the output of steps
	number  int // of the step, as a plan has it
	began   time.Time
	answers map[string]any // by question; see answers.go

	inputsRead []Input
	saidUnseen bool     // that programs do not see the disk
	unread     sync.Map // URL that cannot be read to what counts instead
	claims     claims
	packages   *pkgproxy.Proxy // nil: no program needed it yet
	ahead      []func()        // each ends downloads that were begun before they are asked for
	exported   map[string]bool // directories that the run has filled itself
}

// Stop ends what goes on besides the steps. No step may follow.
func (b *Builder) Stop() {
	for _, stop := range b.ahead {
		stop()
	}
	if b.packages != nil {
		if err := b.packages.Close(); err != nil {
			b.Log.Warn("cannot tidy what is kept of packages", "cause", err)
		}
	}
	if b.Fetch.Lock != nil {
		if err := b.Fetch.Lock.Bodies.Sweep(); err != nil {
			b.Log.Warn("cannot tidy what is kept of servers' answers", "cause", err)
		}
	}
}

// Change implements Worker.
func (b *Builder) Change(ctx context.Context, s *Step, c Change) error {
	b.uses(s)
	start := b.count()
	inputs, err := b.inputs(ctx, s)
	if err != nil {
		return err
	}
	state := b.stateOf(s.Root)
	st := layer.Origin{Name: s.Builtin, Inputs: b.dated(inputs), Network: s.Fresh.network(), Summary: s.Summary(), Check: c.unchanged}
	why := b.History.Explain(state.Key(), st)
	out := b.output(s)
	outcome, err := state.Change(ctx, st, func(ctx context.Context, stack sandbox.Stack) error {
		b.running(s, s.Summary(), out)
		err := c.Do(ctx, b, stack, out)
		if err == nil || context.Cause(ctx) != nil {
			return err
		}
		err = cmp.Or(c.unchanged(ctx), err) // what has changed explains any error
		if b.Failed != nil {
			b.Failed(ctx, &Room{Step: s, Err: err, builder: b, runs: c.Runs, stack: stack})
		}
		return err
	})
	if err = b.close(ctx, out, err); err != nil {
		b.Done = append(b.Done, b.doneAt(s, start, true))
		return err
	}
	s.Root.filled = true
	b.done(s, outcome, why, start)
	return nil
}

// unchanged finds out whether the files that a change has read are those of its key,
// after it has, since they may change while it does. One of the store is damaged then, and
// the next run gets it anew.
func (c Change) unchanged(ctx context.Context) error {
	for _, f := range c.Reads {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if changed := f.intact(); changed != nil {
			return errors.Join(changed, f.forget())
		}
	}
	return nil
}

// Make implements Worker.
func (b *Builder) Make(ctx context.Context, s *Step, p Product) ([]*File, error) {
	b.uses(s)
	if err := b.claims.check(s, p); err != nil {
		return nil, err
	}
	if p.OfRoot {
		if err := s.Root.intact(ctx, b); err != nil {
			return nil, err
		}
	}
	if !p.Unshown {
		b.count()
	}
	return p.Do(ctx, b)
}

// Act implements Worker.
func (b *Builder) Act(ctx context.Context, s *Step, a Act) error {
	start := b.count()
	if a.Do == nil {
		return nil
	}
	if l := b.lock(); l != nil && l.Record {
		if a.Assumed {
			return errors.New("it goes beyond the run, and what comes of it is no part of a lock: lock a recipe without it")
		}
		b.Log.Info("left out while the lock is made", "step", s.Label, "at", s.At, "what", s.Summary())
		return nil
	}
	b.running(s, s.Summary(), nil)
	if err := a.Do(ctx, b); err != nil {
		return err
	}
	b.done(s, layer.Outcome{}, "it is done every time", start)
	return nil
}

// A Result is a file that was put into the target directory, or a directory.
type Result struct {
	Path   string `json:"path"`
	Size   int64  `json:"size,omitempty"` // in bytes; 0: it is a directory, or too large to be read for this
	SHA256 string `json:"sha256,omitempty"`
}

// count begins a step that has a number.
func (b *Builder) count() time.Time {
	b.number++
	now := time.Now()
	if b.began.IsZero() {
		b.began = now
	}
	return now
}

// running logs that a step begins to do something, and where it prints what, if anywhere.
func (b *Builder) running(s *Step, what string, out *logFile) {
	attrs := append([]any{"step", s.Label, "at", s.At, "what", what}, b.which(s)...)
	if out != nil {
		attrs = append(attrs, "log", out.path)
	}
	b.Log.Info("running", attrs...)
}

// which tells a step of a run from all others: its number, how many there are as far as a plan
// knows, and its root file system.
func (b *Builder) which(s *Step) []any {
	attrs := []any{"n", b.number}
	if b.number <= b.Planned {
		attrs = append(attrs, "of", b.Planned)
	}
	if s.Root != nil {
		attrs = append(attrs, "rootfs", s.Root.Name, "target", s.Root.Target)
	}
	return attrs
}

// Done is what became of a step.
type Done struct {
	Step    string  `json:"step"`
	Key     string  `json:"key,omitempty"` // of its layer; "": it has none
	At      string  `json:"at,omitempty"`
	What    string  `json:"what,omitempty"`
	Rootfs  string  `json:"rootfs,omitempty"`
	Target  string  `json:"target,omitempty"`
	Start   float64 `json:"start"` // seconds after the first step
	Took    float64 `json:"took"`  // seconds
	Cached  bool    `json:"cached,omitempty"`
	Because string  `json:"because,omitempty"` // why it was not in the cache
	Failed  bool    `json:"failed,omitempty"`
}

// doneAt is a step that has ended now.
func (b *Builder) doneAt(s *Step, start time.Time, failed bool) Done {
	d := Done{Step: s.Label, At: s.At, What: s.Summary(), Start: start.Sub(b.began).Seconds(), Took: time.Since(start).Seconds(), Failed: failed}
	if s.Root != nil {
		d.Rootfs, d.Target = s.Root.Name, s.Root.Target
	}
	return d
}

// done logs a finished step.
func (b *Builder) done(s *Step, outcome layer.Outcome, why string, start time.Time) {
	d := b.doneAt(s, start, false)
	d.Key = outcome.Key
	if d.Cached = outcome.Hit; !d.Cached {
		d.Because = cmp.Or(outcome.Why, why)
	}
	b.Done = append(b.Done, d)
	attrs := []any{"step", d.Step, "at", d.At, "what", d.What, "took", time.Since(start), "cached", d.Cached}
	attrs = append(attrs, b.which(s)...)
	if b.Explain && !d.Cached {
		attrs = append(attrs, "because", d.Because)
	}
	b.Log.Info("step", attrs...)
}

// inputs are all that the result of a step depends on, but what is below it.
func (b *Builder) inputs(ctx context.Context, s *Step) ([]layer.Input, error) {
	inputs, err := append(s.Args[:len(s.Args):len(s.Args)], s.Also...).inputs()
	if err != nil {
		return nil, err
	}
	stamps, err := b.stamps(ctx, s.Fresh)
	return append(inputs, stamps...), err
}

// dated are the inputs of a layer: programs see the epoch, if there is one, and no time in the
// layer is later. Without, keys are what they always were.
func (b *Builder) dated(inputs []layer.Input) []layer.Input {
	if b.Epoch == "" {
		return inputs
	}
	return append(inputs[:len(inputs):len(inputs)], layer.Input{Name: "epoch", Value: string(b.Epoch)})
}

// output is where a step's programs write: a file that exists once they do.
func (b *Builder) output(s *Step) *logFile {
	b.logs++
	name := fmt.Sprintf("%03d-%s.log", b.logs, strings.ReplaceAll(s.Label, "/", "_"))
	said := &host.Lines{Each: func(line string) { b.Log.Debug("output", "step", s.Label, "at", s.At, "line", line) }}
	return &logFile{path: filepath.Join(b.LogDir, name), said: said}
}

// close ends the output of a step and completes its error.
func (b *Builder) close(ctx context.Context, out *logFile, err error) error {
	log := out.written()
	if err == nil || context.Cause(ctx) != nil {
		return err
	}
	var exit *host.ExitError
	if errors.As(err, &exit) {
		exit.Log = log
	}
	return err
}

// A logFile is made when the first byte is written to it. Where it cannot be written,
// for example since the disk is full, the step goes on without.
type logFile struct {
	path string
	said *host.Lines // gets the same
	file *os.File
	err  error
}

func (l *logFile) Write(p []byte) (int, error) {
	if l.file == nil && l.err == nil {
		if l.err = os.MkdirAll(filepath.Dir(l.path), 0o755); l.err == nil {
			l.file, l.err = os.Create(l.path)
		}
	}
	if l.err == nil {
		_, l.err = l.file.Write(p)
	}
	l.said.Write(p)
	return len(p), nil
}

// written is the path of the log if there is one.
func (l *logFile) written() string {
	l.said.Flush()
	if l.file == nil {
		return ""
	}
	l.file.Close()
	return l.path
}
