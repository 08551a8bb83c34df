package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/layer"
	"imagebuilder/builtins/lock"
	"imagebuilder/builtins/problems"
	"imagebuilder/builtins/registry"
)

// BuildOptions say how a recipe is run, and where its results go. This file is where the
// parts of a run are put together: nothing above it knows more of them.
type BuildOptions struct {
	Target   string         // directory that gets the results
	Cache    string         // directory of the store
	Store    layer.Options  // how the store is used; Clock, Copies and Log are those of the run
	Sources  *build.Sources // downloads that users see; nil: they are only in the store
	Explain  bool           // say why a step is done
	StaleOK  bool           // where a server cannot be reached, what it last said counts
	Offline  bool           // ask nothing of the network: see [fetch.Client]
	Lock     *lock.Session  // what the network answers, or where that is written down; nil: neither
	Log      *slog.Logger
	Progress fetch.Progress // of downloads and other long parts; nil: none is shown

	Share   *registry.Share // a store that machines share; nil: there is none
	Voucher Voucher         // says where the images come from; nil: nobody does

	Documents bool // beside images is said what is in them

	Failed func(context.Context, *build.Room) // see [build.Builder]
	Report func(Run)                          // is told what the run did, however it ended; nil: nobody is
}

// Ready finds out whether the recipe can be run on this machine, with a directory for the
// results, as far as that can be known before. What a lock has need not be there; nil: there is none.
func (r *Recipe) Ready(target string, l *lock.Session) error {
	planner := &build.Planner{Target: target, Lock: l}
	if err := r.check(planner); err != nil {
		return err
	}
	r.wishes, r.plannedSteps, r.needs = planner.Wishes, len(planner.Steps), make(map[string]bool)
	for _, n := range planner.Needs() {
		r.needs[n.Name] = true
	}
	return problems.Join(planner.Missing()...)
}

// Build runs the recipe and returns its results.
func (r *Recipe) Build(o BuildOptions) (results []build.Result, err error) {
	r.log, r.words.Log = o.Log, o.Log
	builder, err := r.builder(o)
	if err != nil {
		return nil, err
	}
	defer func() { err = problems.Join(err, o.Sources.Close(), builder.Store.Close()) }()
	defer builder.Stop()
	r.words.Offline = o.Offline && o.Lock == nil // programs reach no further than the lock anyhow
	switch {
	case o.Lock != nil && o.Lock.Record: // nothing is to be asked for that is not needed
	case o.Lock != nil:
		defer builder.Fetch.Prefetch(r.loader.ctx, r.wishes)()
	case o.Sources == nil: // else downloads may be there already
		defer builder.Fetch.Prefetch(r.loader.ctx, builder.Expected(r.wishes))()
	}
	if err := r.loader.hold(builder.Store); err != nil {
		return nil, err
	}
	if err := builder.Store.CheckOverlay(r.loader.ctx); err != nil {
		return nil, err
	}
	start := time.Now()
	if err := r.run(builder); err != nil {
		r.report(o, builder, start, err) // as far as it can be: the error counts
		return nil, err
	}
	if o.Voucher != nil {
		if err := r.vouch(o.Voucher, builder, start); err != nil {
			return nil, problems.Join(err, r.report(o, builder, start, err))
		}
	}
	return builder.Results, r.report(o, builder, start, nil)
}

// Visit runs the recipe up to the step that at means, and has its root file system entered:
// see [build.Visitor]. It leaves no results.
func (r *Recipe) Visit(o BuildOptions, at func(n int, s *build.Step) bool, enter func(context.Context, *build.Room) error) (err error) {
	r.log, r.words.Log = o.Log, o.Log
	builder, err := r.builder(o)
	if err != nil {
		return err
	}
	defer func() { err = problems.Join(err, builder.Store.Close()) }()
	defer builder.Stop()
	r.words.Offline = o.Offline
	if err := r.loader.hold(builder.Store); err != nil {
		return err
	}
	visitor := &build.Visitor{Builder: builder, At: at}
	if err := r.run(visitor); err != nil && !errors.Is(err, build.ErrVisited) {
		return err
	}
	return visitor.Visit(r.loader.ctx, enter)
}

// Resolve is Plan with what the network answers: names, digests and sizes as they are.
// Nothing but the pages and the small files that have the answers is downloaded.
func (r *Recipe) Resolve(o BuildOptions) (planner *build.Planner, err error) {
	o.StaleOK = true // which does no harm to a plan
	builder, err := r.builder(o)
	if err != nil {
		return nil, err
	}
	defer func() { err = problems.Join(err, builder.Store.Close()) }()
	planner = &build.Planner{Resolve: builder}
	return planner, r.PlanOn(planner)
}

// builder opens the store for a run.
func (r *Recipe) builder(o BuildOptions) (*build.Builder, error) {
	o.Store.Clock, o.Store.Log = func() time.Time { return r.words.Now }, o.Log
	o.Store.Epoch = r.words.Epoch
	o.Store.Copies = r.words.Epoch != "" || o.Share != nil // else the layers would tell who has made them
	if o.Share != nil {
		o.Share.Log, o.Store.Remote = o.Log, o.Share
	}
	store, err := layer.Open(o.Cache, o.Store)
	if err != nil {
		return nil, err
	}
	if o.Lock != nil {
		o.Lock.Bodies = lock.Bodies{Dir: store.Bodies()}
	}
	client := &fetch.Client{
		Store: store, Log: o.Log, Progress: o.Progress, Offline: o.Offline, StaleOK: o.StaleOK,
		Lock: o.Lock, GiveUp: o.Lock != nil && !o.Lock.Record,
	}
	if o.Share != nil {
		client.Shared = o.Share
	}
	return &build.Builder{
		Store:   store,
		Fetch:   client,
		Log:     o.Log,
		Target:  o.Target,
		LogDir:  store.Logs(),
		History: store.History(historyOf(r.Name)),
		Explain: o.Explain,
		Sources: o.Sources,

		Progress: o.Progress,
		Failed:   o.Failed,
		Planned:  r.plannedSteps,
		Epoch:    r.words.Epoch,
		Now:      r.words.Now,
		Tools:    r.tools,

		Documents: o.Documents,
	}, nil
}

// historyOf names the history of a recipe: one that is a file is known by its path.
func historyOf(name string) string {
	if strings.ContainsAny(name, "/.") {
		if abs, err := filepath.Abs(name); err == nil {
			name = abs
		}
	}
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}

// Epoch is the time that what the recipe makes is dated by, in seconds since 1970; "": there is none.
func (r *Recipe) Epoch() host.Epoch { return r.words.Epoch }
