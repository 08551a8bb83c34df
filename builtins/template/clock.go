package template

import (
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/flosch/pongo2/v6"
)

// The tag now and the filter random say the same whenever an image is made that is to be the
// same: the time is that of the run, which stands still for an epoch, and chance depends on
// it and on the template. In pongo2 both ask this machine.

// Now is the name under which a context may have the time of the run. Without it templates
// see this machine's.
const Now = "imagebuilder_now"

// withRun adds to names what the tag and the filter find there.
func withRun(names map[string]any, text string) {
	now, ok := names[Now].(time.Time)
	if !ok {
		now = time.Now().UTC()
	}
	h := fnv.New64a()
	h.Write([]byte(text))
	names[Now], names[chance] = now, rand.New(rand.NewPCG(uint64(now.UnixNano()), h.Sum64()))
}

// random returns any element of a list.
func random(in, from *pongo2.Value) (*pongo2.Value, *pongo2.Error) {
	r, ok := from.Interface().(*rand.Rand)
	if !ok || !in.CanSlice() || in.Len() == 0 {
		return in, nil
	}
	return in.Index(r.IntN(in.Len())), nil
}

// A nowTag is {% now "FORMAT" %}, with a format of Go.
type nowTag struct{ format string }

func parseNow(_ *pongo2.Parser, _ *pongo2.Token, arguments *pongo2.Parser) (pongo2.INodeTag, *pongo2.Error) {
	format := arguments.MatchType(pongo2.TokenString)
	if format == nil {
		return nil, arguments.Error("Expected a format string.", nil)
	}
	if arguments.Remaining() > 0 {
		return nil, arguments.Error("Malformed now-tag arguments.", nil)
	}
	return nowTag{format.Val}, nil
}

func (t nowTag) Execute(ctx *pongo2.ExecutionContext, w pongo2.TemplateWriter) *pongo2.Error {
	now, _ := ctx.Public[Now].(time.Time)
	if _, err := w.WriteString(now.Format(t.format)); err != nil {
		return ctx.Error(err.Error(), nil)
	}
	return nil
}
