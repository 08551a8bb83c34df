package template

import (
	"bytes"
	"fmt"

	"github.com/flosch/pongo2/v6"
)

// The tag macro of pongo2 calls itself as long as a template says so, which ends with the
// whole process. This is the same tag with a limit.

// maxCalls is how deep macros may call each other.
const maxCalls = 100

// callsName is where the depth is kept, among the names that one rendering has. It is no name
// that a template could say.
const callsName = "calls of macros"

// A macro is a tag "macro" that was parsed.
type macro struct {
	at       *pongo2.Token
	name     string
	params   []string
	defaults map[string]pongo2.IEvaluator
	body     *pongo2.NodeWrapper
}

// parseMacro parses {% macro name(param, param=default) %}…{% endmacro %}.
func parseMacro(doc *pongo2.Parser, start *pongo2.Token, arguments *pongo2.Parser) (pongo2.INodeTag, *pongo2.Error) {
	m := &macro{at: start, defaults: make(map[string]pongo2.IEvaluator)}
	name := arguments.MatchType(pongo2.TokenIdentifier)
	if name == nil {
		return nil, arguments.Error("a macro needs a name", m.at)
	}
	m.name = name.Val
	if arguments.Match(pongo2.TokenSymbol, "(") == nil {
		return nil, arguments.Error("a macro needs parameters in parentheses, or none", m.at)
	}
	for arguments.Match(pongo2.TokenSymbol, ")") == nil {
		if err := m.parseParam(arguments); err != nil {
			return nil, err
		}
	}
	arguments.Match(pongo2.TokenKeyword, "export") // nobody can import it
	if arguments.Remaining() > 0 {
		return nil, arguments.Error("there is something after the parameters of the macro", m.at)
	}
	body, end, err := doc.WrapUntilTag("endmacro")
	if err != nil {
		return nil, err
	}
	if end.Count() > 0 {
		return nil, end.Error("endmacro takes no arguments", m.at)
	}
	m.body = body
	return m, nil
}

// parseParam parses one parameter and the comma after it.
func (m *macro) parseParam(arguments *pongo2.Parser) *pongo2.Error {
	name := arguments.MatchType(pongo2.TokenIdentifier)
	if name == nil {
		return arguments.Error("a parameter needs a name", m.at)
	}
	m.params = append(m.params, name.Val)
	if arguments.Match(pongo2.TokenSymbol, "=") != nil {
		value, err := arguments.ParseExpression()
		if err != nil {
			return err
		}
		m.defaults[name.Val] = value
	}
	if arguments.Peek(pongo2.TokenSymbol, ")") == nil && arguments.Match(pongo2.TokenSymbol, ",") == nil {
		return arguments.Error("expected a comma or the end of the parameters", m.at)
	}
	return nil
}

// Execute makes the macro known.
func (m *macro) Execute(ctx *pongo2.ExecutionContext, _ pongo2.TemplateWriter) *pongo2.Error {
	ctx.Private[m.name] = func(args ...*pongo2.Value) (*pongo2.Value, error) { return m.call(ctx, args) }
	return nil
}

// call renders the body. A parameter that is given nothing has its default, else it is blank.
func (m *macro) call(ctx *pongo2.ExecutionContext, args []*pongo2.Value) (*pongo2.Value, error) {
	calls, _ := ctx.Public[callsName].(int)
	if calls == maxCalls {
		return nil, ctx.Error(fmt.Sprintf("macros call each other more than %d deep: does %s call itself?", maxCalls, m.name), m.at)
	}
	ctx.Public[callsName] = calls + 1
	defer func() { ctx.Public[callsName] = calls }()

	if len(args) > len(m.params) {
		return nil, ctx.Error(fmt.Sprintf("macro %s got %d arguments, it takes %d", m.name, len(args), len(m.params)), m.at)
	}
	inside := pongo2.NewChildExecutionContext(ctx)
	for i, param := range m.params {
		inside.Private[param] = nil
		switch value, ok := m.defaults[param]; {
		case i < len(args):
			inside.Private[param] = args[i].Interface()
		case ok:
			v, err := value.Evaluate(ctx)
			if err != nil {
				return nil, err
			}
			inside.Private[param] = v
		}
	}
	var out bytes.Buffer
	if err := m.body.Execute(inside, &out); err != nil {
		return nil, err
	}
	return pongo2.AsSafeValue(out.String()), nil
}
