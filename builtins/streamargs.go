package builtins

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.starlark.net/starlark"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/options"
	"imagebuilder/streams"
	"imagebuilder/streams/words"
)

// A streamCall is one call of a word on an image server. Which options it has, package
// options says; here they become arguments.
type streamCall struct {
	words  *Words
	thread *starlark.Thread
	fn     *starlark.Builtin
	step   *build.Step
	table  optionTable
	files  []*fileArg // whose paths are known when the call is carried out

	tree   string // as the recipe says it
	strict bool   // trouble is an error
}

func (b *Words) newStreamCall(thread *starlark.Thread, fn *starlark.Builtin, table optionTable) *streamCall {
	return &streamCall{words: b, thread: thread, fn: fn, table: table}
}

// unpack unpacks the arguments: the first ones, the options, and others that only recipes
// have. It checks them, so that a plan finds what is wrong, and begins the step, which shows
// those that were given.
func (c *streamCall) unpack(args starlark.Tuple, kwargs []starlark.Tuple, first []any, others ...any) error {
	pairs := slices.Concat(first, c.pairs(c.table.Settings(), ""), others)
	if err := unpackArgs(c.fn, args, kwargs, pairs...); err != nil {
		return err
	}
	var given build.Args
	for i, v := range args {
		given = append(given, arg(strings.TrimRight(pairs[2*i].(string), "?"), plainArg(v)))
	}
	for _, kwarg := range kwargs {
		name, _ := starlark.AsString(kwarg[0])
		given = append(given, arg(name, plainArg(kwarg[1])))
	}
	if err := checkOptions(c.fn, c.table, args, kwargs, given); err != nil {
		return err
	}
	c.step = c.words.newStep(c.thread, c.fn, nil, given...)
	return nil
}

// pairs are the options of an argument that is a dict, or those that are arguments, as
// unpackArgs takes them.
func (c *streamCall) pairs(settings []*options.Setting, of string) []any {
	var pairs []any
	for _, s := range settings {
		if s.Of != of {
			continue
		}
		name, to := argumentOf(s)
		switch t := s.To.(type) {
		case *options.KeyFile:
			arg := &fileArg{to: t}
			c.files = append(c.files, arg)
			name, to = s.Name+"??", &arg.file
		case *bool:
			if s.Name == words.PageName {
				to = &pageArg{c, t}
			}
		}
		pairs = append(pairs, name, to)
	}
	return pairs
}

// plainArg is an argument as a plan shows it.
func plainArg(v starlark.Value) any {
	switch v := v.(type) {
	case *file:
		return v.File
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

// do carries out work on the site, or has it planned.
func (c *streamCall) do(work func(context.Context, streams.Site) error) error {
	if c.words.Locate == nil {
		return errors.New("internal error: recipes cannot name local files")
	}
	if err := c.words.checkReach(c.thread, c.tree); err != nil {
		return err
	}
	root, err := c.words.Locate(callerFile(c.thread), c.tree)
	if err != nil {
		return err
	}
	// What is on it is no part of any layer: this is done every time, and a plan goes on as
	// if the server were empty.
	return c.words.Worker.Act(Context(c.thread), c.step, build.Act{Assumed: true, Do: func(ctx context.Context, b *build.Builder) error {
		for _, arg := range c.files {
			if arg.file != nil {
				arg.to.Path = build.Paths([]*build.File{arg.file.File})[0]
			}
		}
		return work(ctx, streams.Site{Root: root, Log: b.Log, Clock: c.words.clock})
	}})
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

// fileArg is an argument that is a file with a secret.
type fileArg struct {
	to   *options.KeyFile
	file *file
}

// pageArg is an argument about the web page: True, or a dict of its texts.
type pageArg struct {
	call *streamCall
	on   *bool
}

func (p *pageArg) Unpack(v starlark.Value) error {
	switch v := v.(type) {
	case starlark.NoneType:
		return nil
	case starlark.Bool:
		*p.on = bool(v)
		return nil
	case *starlark.Dict:
		*p.on = true
		return p.read(v)
	}
	return fmt.Errorf("got %s, want True or a dict", v.Type())
}

// read takes the texts from a dict, whose keys are those of a call that has them as
// arguments.
func (p *pageArg) read(dict *starlark.Dict) error {
	settings := p.call.table.Settings()
	var kwargs []starlark.Tuple
	for _, item := range dict.Items() {
		name, ok := starlark.AsString(item[0])
		if !ok {
			return fmt.Errorf("%s is not the name of a text", item[0])
		}
		markGiven(settings, words.PageName, name, false)
		kwargs = append(kwargs, item)
	}
	fn := starlark.NewBuiltin(words.PageName, nil)
	return unpackArgs(fn, nil, kwargs, p.call.pairs(settings, words.PageName)...)
}
