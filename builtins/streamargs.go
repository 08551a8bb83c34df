package builtins

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"time"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/layer"
	"imagebuilder/streams"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/page"
	"imagebuilder/streams/site"
)

// A streamCall is one call of a word on an image server: the arguments that several of
// these words have, and what they do with them.
type streamCall struct {
	build  *Build
	thread *starlark.Thread
	fn     *starlark.Builtin
	step   *Step

	tree       string // as the recipe says it
	names      stringList
	version    string
	workers    int
	links      bool
	natural    bool
	key        *File
	passphrase *File
	maxDrop    share
	force      bool
	strict     bool
}

func (b *Build) newStreamCall(thread *starlark.Thread, fn *starlark.Builtin) *streamCall {
	return &streamCall{build: b, thread: thread, fn: fn, maxDrop: 0.75}
}

// common are the arguments of all words on a tree, to stand behind the others.
func (c *streamCall) common() []any {
	return []any{
		"stream_version?", &c.version, "workers?", &c.workers, "follow_links?", &c.links, "natural_order?", &c.natural,
	}
}

// publishing are those of the words that publish.
func (c *streamCall) publishing() []any {
	return append([]any{
		"sign_key??", &c.key, "sign_passphrase??", &c.passphrase, "max_drop?", &c.maxDrop, "force?", &c.force,
	}, c.common()...)
}

// unpack unpacks the arguments and begins the step, which shows those that were given.
func (c *streamCall) unpack(args starlark.Tuple, kwargs []starlark.Tuple, pairs ...any) error {
	if err := unpackArgs(c.fn, args, kwargs, pairs...); err != nil {
		return err
	}
	var given []Arg
	for i, v := range args {
		given = append(given, Arg{strings.TrimRight(pairs[2*i].(string), "?"), plainArg(v)})
	}
	for _, kwarg := range kwargs {
		name, _ := starlark.AsString(kwarg[0])
		given = append(given, Arg{name, plainArg(kwarg[1])})
	}
	c.step = c.build.newStep(c.thread, c.fn, nil, given...)
	return nil
}

// plainArg is an argument as a plan shows it.
func plainArg(v starlark.Value) any {
	switch v := v.(type) {
	case *File:
		return v
	case starlark.Bool:
		return bool(v)
	case *starlark.List:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plainArg(v.Index(i))
		}
		return list
	case starlark.HasAttrs:
		if files, _, err := imageFiles(v); err == nil {
			return files
		}
	}
	return ToPlain(v)
}

// do carries out work on the tree, or has it planned.
func (c *streamCall) do(work func(context.Context, streams.Site, *site.Signer) error) error {
	if err := c.check(); err != nil {
		return err
	}
	root, err := c.build.Locate(callerFile(c.thread), c.tree)
	if err != nil {
		return err
	}
	t := streams.Site{
		Root: root, Streams: c.names, StreamVersion: c.version, Workers: c.workers, Links: c.links, NaturalOrder: c.natural,
		Clock: c.build.Clock,
	}
	return c.build.Worker.Maintain(c.step, func(log *slog.Logger) error {
		t.Log = log
		signer, err := c.signer()
		if err != nil {
			return err
		}
		return work(Context(c.thread), t, signer)
	})
}

// check finds what is wrong with the arguments that all calls have, so that a plan does.
func (c *streamCall) check() error {
	if c.build.Locate == nil {
		return errors.New("internal error: recipes cannot name local files")
	}
	for _, name := range c.names {
		if err := catalog.CheckStream(name); err != nil {
			return fmt.Errorf("%s: %w", c.fn.Name(), err)
		}
	}
	if c.version != "" {
		if err := catalog.CheckStreamVersion(c.version); err != nil {
			return fmt.Errorf("%s: %w", c.fn.Name(), err)
		}
	}
	return nil
}

// safety is what the arguments about it say.
func (c *streamCall) safety() streams.Safety {
	return streams.Safety{MaxDrop: float64(c.maxDrop), Force: c.force}
}

// signer returns what signs, nil if nothing is to be signed.
func (c *streamCall) signer() (*site.Signer, error) {
	if c.key == nil {
		return nil, nil
	}
	key, err := os.ReadFile(c.key.path)
	if err != nil {
		return nil, err
	}
	var passphrase []byte
	if c.passphrase != nil {
		if passphrase, err = os.ReadFile(c.passphrase.path); err != nil {
			return nil, err
		}
	}
	return site.NewSigner(key, bytes.TrimRight(passphrase, "\r\n"), c.build.Clock)
}

// finish returns what a recipe gets of a run, with the trouble as text; if the call is
// strict, trouble is an error.
func (c *streamCall) finish(fields starlark.StringDict, trouble, err error) (starlark.Value, error) {
	if err == nil && trouble != nil && c.strict {
		err = fmt.Errorf("not all went well: %w", trouble)
	}
	fields["trouble"] = starlark.String("")
	if trouble != nil {
		fields["trouble"] = starlark.String(trouble.Error())
	}
	return newStruct(fields), err
}

// Maintain implements Worker.
func (w *Builder) Maintain(s *Step, work func(*slog.Logger) error) error {
	start := time.Now()
	w.Log.Debug("running", "step", s.Label(), "at", s.At(), "what", s.Summary())
	if err := work(w.Log); err != nil {
		return err
	}
	w.done(s, layer.Outcome{}, "it is done every time", start)
	return nil
}

// Maintain implements Worker.
func (p *Planner) Maintain(s *Step, _ func(*slog.Logger) error) error {
	p.Record(s)
	p.Assumed = true // that it was as if the server were empty
	return nil
}

// share is an argument that is a number from 0 to 1. Zero becomes as little as there is:
// the engine takes it for "not given".
type share float64

func (s *share) Unpack(v starlark.Value) error {
	f, ok := starlark.AsFloat(v)
	if !ok || !(f >= 0 && f <= 1) {
		return fmt.Errorf("got %s, want a share from 0 to 1", v)
	}
	*s = share(max(f, math.SmallestNonzeroFloat64))
	return nil
}

// duration is an argument that is a length of time such as "2h" or "30d".
type duration struct{ time.Duration }

func (d *duration) Unpack(v starlark.Value) (err error) {
	var e expiry
	err = e.Unpack(v)
	d.Duration = e.Duration
	return err
}

// pageOf is an argument about the web page: True, or a dict of its texts.
type pageOf struct{ options *page.Options }

func (p *pageOf) Unpack(v starlark.Value) error {
	switch v := v.(type) {
	case starlark.NoneType:
		return nil
	case starlark.Bool:
		if v {
			p.options = new(page.Options)
		}
		return nil
	case *starlark.Dict:
		p.options = new(page.Options)
		return p.read(v)
	}
	return fmt.Errorf("got %s, want True or a dict", v.Type())
}

// read takes the texts from a dict, whose keys are those of a call that has them as
// arguments.
func (p *pageOf) read(dict *starlark.Dict) error {
	o := p.options
	stale := duration{page.DefaultStale}
	var intro, clients stringList
	var kwargs []starlark.Tuple
	for _, item := range dict.Items() {
		if _, ok := item[0].(starlark.String); !ok {
			return fmt.Errorf("%s is not the name of a text", item[0])
		}
		kwargs = append(kwargs, item)
	}
	err := unpackArgs(starlark.NewBuiltin("page", nil), nil, kwargs, "title?", &o.Title, "intro?", &intro, "notice?", &o.Notice,
		"footer?", &o.Footer, "logo?", &o.Logo, "remote?", &o.Remote, "url?", &o.URL, "clients?", &clients, "stale?", &stale)
	o.Intro, o.Clients, o.StaleAfter = intro, clients, stale.Duration
	if stale.Duration == 0 {
		o.StaleAfter = -1 // never
	}
	return err
}
