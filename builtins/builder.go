package builtins

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/lxd"
	"imagebuilder/builtins/pack"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/builtins/tree"
)

// A Builder is the Worker that does what is asked for. Its fields are set before its
// first use.
type Builder struct {
	Store   *layer.Store
	Fetch   *fetch.Client
	Clock   host.Clock
	Log     *slog.Logger
	Target  string         // directory that gets the results
	LogDir  string         // directory for the output of steps
	History *layer.History // what the steps of the last run depended on
	Explain bool           // say why a step is done
	Sources *Sources       // nil: downloads are only in the store

	Results []string // files put into the target directory

	steps  int
	looked map[lookKey]sandbox.Answer
	packed packedRoots
}

type lookKey struct {
	tree string
	q    sandbox.Look
}

var _ Worker = (*Builder)(nil)

// NewTree implements Worker.
func (w *Builder) NewTree() *layer.Tree { return w.Store.NewTree() }

// TreeOf implements Worker.
func (w *Builder) TreeOf(_ context.Context, _ *Step, dir string) (*layer.Tree, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	root, err := tree.Open(abs)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	key, err := tree.Fingerprint(root)
	if err != nil {
		return nil, fmt.Errorf("cannot look at %s: %w", dir, err)
	}
	return w.Store.TreeOf(abs, key), nil
}

// Lacking implements Worker.
func (w *Builder) Lacking(s *Step, what string) error {
	return lackingError(s, what)
}

// Record implements Worker: what changes no file is done by being remembered.
func (w *Builder) Record(*Step) {}

// Installed implements Worker.
func (w *Builder) Installed(program string) bool { return host.Installed(program) }

// Notice implements Worker.
func (w *Builder) Notice(text string) { w.Log.Warn(text) }

// Change implements Worker.
func (w *Builder) Change(ctx context.Context, s *Step) error {
	start := time.Now()
	inputs, err := s.inputs()
	if err != nil {
		return err
	}
	stamps, err := w.stamps(ctx, s.Fresh)
	if err != nil {
		return err
	}
	st := layer.Step{Name: s.Builtin, Inputs: append(inputs, stamps...), Network: s.Fresh.network(), Summary: s.Summary()}
	why := w.History.Explain(s.Root.tree.Key(), st)
	out := w.output(s)
	outcome, err := s.Root.tree.Change(ctx, st, func(ctx context.Context, rootfs sandbox.Rootfs) error {
		spec := s.Spec
		spec.Rootfs = rootfs
		w.Log.Debug("running", "step", s.Label(), "at", s.At(), "what", s.Summary(), "log", out.path)
		_, err := sandbox.Run(ctx, spec, out)
		if spec.Host == nil { // edits check what they copy
			return err
		}
		return s.unchanged(ctx, err)
	})
	if err = w.close(ctx, out, err); err != nil {
		return err
	}
	w.done(s, outcome, why, start)
	return nil
}

// done logs a finished step.
func (w *Builder) done(s *Step, outcome layer.Outcome, why string, start time.Time) {
	attrs := []any{"step", s.Label(), "at", s.At(), "what", s.Summary(), "took", time.Since(start), "cached", outcome.Hit}
	if w.Explain && !outcome.Hit {
		if outcome.Why != "" {
			why = outcome.Why
		}
		attrs = append(attrs, "because", why)
	}
	w.Log.Info("step", attrs...)
}

// stamps are the inputs of a step that lie outside the recipe.
func (w *Builder) stamps(ctx context.Context, f Freshness) ([]layer.Input, error) {
	// The real day: SOURCE_DATE_EPOCH says what goes into images, not how old they may be.
	today := layer.Input{Name: "day", Value: time.Now().UTC().Format(time.DateOnly)}
	inputs := make([]layer.Input, len(f.URLs))
	var group errgroup.Group
	for i, url := range f.URLs {
		group.Go(func() error {
			file, err := w.Fetch.Fetch(ctx, fetch.Request{URL: url, MaxSize: 1 << 30})
			inputs[i] = layer.Input{Name: url, Value: file.SHA256}
			if errors.Is(err, fetch.ErrNotFound) { // it has no such index: the day must do
				inputs[i].Value, err = today.Value, nil
			}
			return err
		})
	}
	err := group.Wait()
	if f.Daily {
		inputs = append(inputs, today)
	}
	return inputs, err
}

// Look implements Worker.
func (w *Builder) Look(ctx context.Context, root *Rootfs, q sandbox.Look) (sandbox.Answer, error) {
	key := lookKey{root.tree.Key(), q}
	if answer, ok := w.looked[key]; ok && key.tree != "" {
		return answer, nil
	}
	if root.tree.Empty() {
		return sandbox.Answer{}, nil
	}
	answer, err := sandbox.Run(ctx, sandbox.Spec{Rootfs: root.tree.View(), Look: &q}, io.Discard)
	if err == nil {
		if w.looked == nil {
			w.looked = make(map[lookKey]sandbox.Answer)
		}
		w.looked[key] = answer
	}
	return answer, err
}

var errEmpty = errors.New("cannot pack the rootfs: it is empty; put files into it first")

// Pack implements Worker. A file of the store that turns out to be damaged when it is
// copied is made anew, once.
func (w *Builder) Pack(ctx context.Context, s *Step, dir string, parts []Part) ([]*File, error) {
	if s.Root.tree.Empty() {
		return nil, errEmpty
	}
	if err := w.packed.add(s, dir, parts); err != nil {
		return nil, err
	}
	start := time.Now()
	files, outcome, why, err := w.parts(ctx, s, dir, parts)
	if errors.Is(err, pack.ErrDamaged) {
		w.Log.Warn("the cache is damaged: packing again", "step", s.Label(), "cause", err)
		if err = forget(files); err == nil {
			files, outcome, why, err = w.parts(ctx, s, dir, parts)
		}
	}
	if err != nil {
		return nil, err
	}
	w.done(s, outcome, why, start)
	for _, f := range files {
		w.Results = append(w.Results, filepath.Join(w.Target, dir, f.name))
	}
	return files, nil
}

// parts makes or finds the files of an image and puts them into the target directory.
func (w *Builder) parts(ctx context.Context, s *Step, dir string, parts []Part) ([]*File, layer.Outcome, string, error) {
	var set []pack.Result
	var files []*File
	outcome, why := layer.Outcome{Hit: true}, ""
	for _, p := range parts {
		file, o, because, err := w.part(ctx, s, p)
		if err != nil {
			return nil, o, "", err
		}
		if !o.Hit {
			outcome, why = o, because
		}
		files = append(files, file)
		set = append(set, pack.Result{Path: file.path, Name: file.name, Size: file.size, SHA256: file.sha256})
	}
	return files, outcome, why, pack.Publish(filepath.Join(w.Target, dir), set)
}

// part makes one file of an image, or finds it in the store.
func (w *Builder) part(ctx context.Context, s *Step, p Part) (*File, layer.Outcome, string, error) {
	inputs, err := (&Step{Builtin: s.Builtin, Args: p.Args}).inputs()
	if err != nil {
		return nil, layer.Outcome{}, "", err
	}
	st := layer.Step{Name: s.Builtin, Inputs: append(inputs, layer.Input{Name: "result", Value: p.File}), Summary: p.File,
		Intact: func(dir string) error { return intact(dir, p.File) }}
	why := w.History.Explain(s.Root.tree.Key(), st)
	out := w.output(s)
	dir, outcome, err := s.Root.tree.Result(ctx, st, func(ctx context.Context, rootfs sandbox.Rootfs, dir string) error {
		if err := p.Make(ctx, pack.Job{Rootfs: rootfs, Dir: dir, Name: p.File, Out: out, Log: w.Log}); err != nil {
			return err
		}
		return describe(dir, p.File)
	})
	if err = w.close(ctx, out, err); err != nil {
		return nil, outcome, why, err
	}
	file, err := described(dir, p.File)
	return file, outcome, why, err
}

// Import implements Worker.
func (w *Builder) Import(ctx context.Context, s *Step, files []*File, fingerprint, alias, description string) error {
	start := time.Now()
	daemon, err := lxd.Connect(ctx, os.Getenv)
	if err != nil {
		return err
	}
	img := lxd.Image{Fingerprint: fingerprint}
	for _, f := range files {
		img.Files = append(img.Files, f.path)
	}
	if err := daemon.Import(ctx, img, alias, description); err != nil {
		return err
	}
	w.done(s, layer.Outcome{}, "it is done every time", start)
	return nil
}

// Download implements Worker.
func (w *Builder) Download(ctx context.Context, s *Step, r fetch.Request) (*File, error) {
	start := time.Now()
	file, err := w.Sources.find(r, fileName(r.URL))
	if err == nil && file == nil {
		file, err = w.fetch(ctx, r)
	}
	if err != nil {
		return nil, err
	}
	w.Log.Info("step", "step", s.Label(), "at", s.At(), "what", r.URL, "took", time.Since(start))
	return file, nil
}

func (w *Builder) fetch(ctx context.Context, r fetch.Request) (*File, error) {
	f, err := w.Fetch.Fetch(ctx, r)
	if err != nil {
		return nil, err
	}
	file := &File{name: fileName(r.URL), path: f.Path, size: f.Size, sha256: f.SHA256}
	return file, w.Sources.add(file, r.URL)
}

// Local implements Worker.
func (w *Builder) Local(_ context.Context, _ *Step, path string) (*File, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return openFile(abs, filepath.Base(path))
}

// Keyring implements Worker.
func (w *Builder) Keyring(ctx context.Context, keys []string, keyserver string, armor bool) (*File, error) {
	ring, err := w.Fetch.Keyring(ctx, keys, keyserver)
	if err == nil && armor {
		ring, err = fetch.Armor(ring)
	}
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(ring)
	digest := hex.EncodeToString(sum[:])
	st := layer.Step{Name: "keyring", Inputs: []layer.Input{{Name: "sha256", Value: digest}}, Intact: func(dir string) error {
		return (&File{path: filepath.Join(dir, "keyring.gpg"), name: "keyring.gpg", sha256: digest}).intact()
	}}
	e, _, err := w.Store.Get(ctx, layer.Base{}, st, func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "keyring.gpg"), ring, 0o644)
	})
	if err != nil {
		return nil, err
	}
	return openFile(filepath.Join(e.Data(), "keyring.gpg"), "keyring.gpg")
}

// output is where a step's programs write: a file that exists once they do.
func (w *Builder) output(s *Step) *logFile {
	w.steps++
	name := fmt.Sprintf("%03d-%s.log", w.steps, strings.ReplaceAll(s.Label(), "/", "_"))
	return &logFile{path: filepath.Join(w.LogDir, name)}
}

// close ends the output of a step and completes its error.
func (w *Builder) close(ctx context.Context, out *logFile, err error) error {
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
	return len(p), nil
}

// written is the path of the log if there is one.
func (l *logFile) written() string {
	if l.file == nil {
		return ""
	}
	l.file.Close()
	return l.path
}
