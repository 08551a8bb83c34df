package build

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"imagebuilder/builtins/fetch"
)

// Questions, and the one place that their answers go through: what was answered once is not
// looked for again, what the network has answered is remembered for the next run.

// A Question has one answer for as long as the run lasts, and of a root file system for as
// long as that stays the same.
type Question[T any] struct {
	What string // what is asked; with the arguments of the step it tells the question

	// Find finds the answer.
	Find func(ctx context.Context, b *Builder) (T, error)
	// Assume is what a plan takes for the answer, and whether that is certain; nil: it
	// assumes the zero value.
	Assume func(p *Planner) (answer T, certain bool)

	// Shown is what readers are shown of an answer that is found on the network, where it may be
	// another one each time: a build remembers the answer, as JSON, beyond its end, and a plan
	// shows the question as a step unless what it assumes is certain. nil: it is no question
	// of the network.
	Shown func(answer T) []string
}

// Ask returns the answer to a question.
func Ask[T any](ctx context.Context, w Worker, s *Step, q Question[T]) (answer T, err error) {
	v, err := w.Ask(ctx, s, q)
	if err == nil {
		answer = v.(T)
	}
	return answer, err
}

// AnyQuestion is a question of any kind of answer.
type AnyQuestion interface {
	what() string
	find(ctx context.Context, b *Builder) (any, error)
	assume(p *Planner) (answer any, certain bool)
	network() bool
	shown(answer any) []string
	read(record *json.Decoder) (answer any, err error)
}

func (q Question[T]) what() string { return q.What }

func (q Question[T]) network() bool { return q.Shown != nil }

func (q Question[T]) shown(answer any) []string { return q.Shown(answer.(T)) }

func (q Question[T]) find(ctx context.Context, b *Builder) (any, error) { return q.Find(ctx, b) }

func (q Question[T]) assume(p *Planner) (any, bool) {
	if q.Assume == nil {
		var zero T
		return zero, false
	}
	return q.Assume(p)
}

func (q Question[T]) read(record *json.Decoder) (any, error) {
	var answer T
	err := record.Decode(&answer)
	return answer, err
}

// Ask implements Worker. What was asked before, of the same state of a root file system,
// is not looked for again. All answers go through here.
func (b *Builder) Ask(ctx context.Context, s *Step, q AnyQuestion) (any, error) {
	if isStep(q) {
		b.count()
	}
	about := ""
	if s.Root != nil && !s.Root.Empty() {
		about = b.stateOf(s.Root).Key()
	}
	id, err := json.Marshal([]any{q.what(), about, s.Args})
	if err != nil {
		return nil, fmt.Errorf("internal error: question %s: %w", q.what(), err)
	}
	if answer, ok := b.answers[string(id)]; ok {
		return answer, nil
	}
	find := q.find
	if q.network() {
		find = func(ctx context.Context, b *Builder) (any, error) { return b.askNetwork(ctx, s, q) }
	}
	answer, err := find(ctx, b)
	if err != nil {
		return nil, err
	}
	if b.answers == nil {
		b.answers = make(map[string]any)
	}
	b.answers[string(id)] = answer
	return answer, nil
}

// isStep tells whether a plan shows a question as a step.
func isStep(q AnyQuestion) bool {
	if !q.network() {
		return false
	}
	_, certain := q.assume(new(Planner))
	return !certain
}

// askNetwork finds an answer on the network, and records it. If there is none this time, that of the
// last run counts where that is allowed.
func (b *Builder) askNetwork(ctx context.Context, s *Step, q AnyQuestion) (any, error) {
	start := time.Now()
	args, err := s.Args.MarshalJSON()
	if err != nil {
		return nil, err
	}
	question := q.what() + " " + string(args)
	before := b.History.Answered(question)
	answer, err := q.find(ctx, b)
	if last, bad := q.read(json.NewDecoder(bytes.NewReader(before))); bad == nil && fetch.Unreachable(err) && b.lock() == nil {
		switch {
		case errors.Is(err, fetch.ErrOffline): // which was asked for
			answer, err = last, nil
		case b.Fetch.StaleOK:
			b.Log.Warn("taken to be as it was last answered", "question", q.what(), "about", s.Summary(), "cause", err)
			answer, err = last, nil
		default:
			err = fetch.Stale(err)
		}
	}
	if err != nil {
		return nil, err
	}
	record, err := json.Marshal(answer)
	if err != nil {
		return nil, fmt.Errorf("internal error: an answer to %s: %w", q.what(), err)
	}
	b.History.Answer(question, record)
	d := b.doneAt(s, start, false)
	d.Step = q.what()
	b.Done = append(b.Done, d)
	attrs := append([]any{"step", d.Step, "at", d.At, "what", d.What, "took", time.Since(start)}, b.which(s)...)
	if was, bad := q.read(json.NewDecoder(bytes.NewReader(before))); b.Explain && bad == nil {
		if changed := difference(q.shown(was), q.shown(answer)); changed != "" {
			attrs = append(attrs, "because", q.what()+" "+s.Summary()+": "+changed)
		}
	}
	b.Log.Info("step", attrs...)
	return answer, nil
}

// difference says in what an answer differs from that before, "" if in nothing that is shown.
func difference(before, now []string) string {
	gone := without(before, now)
	came := without(now, before)
	switch {
	case gone != "" && came != "":
		return "was " + gone + ", is " + came
	case came != "":
		return "new is " + came
	case gone != "":
		return "gone is " + gone
	}
	return ""
}

// without names those of a list that are not in another one, a few of them.
func without(list, others []string) string {
	has := make(map[string]bool, len(others))
	for _, text := range others {
		has[text] = true
	}
	var names []string
	more := 0
	for _, text := range list {
		switch {
		case has[text]:
		case len(names) == 5:
			more++
		default:
			names = append(names, text)
		}
	}
	text := strings.Join(names, ", ")
	if more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
