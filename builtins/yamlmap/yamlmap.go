// Package yamlmap goes through YAML mappings as their authors mean them: with what they
// merge from others ("<<"), and each key once. Decoders of files that people write, which
// keep line numbers and the text of scalars, stand on it.
//
// It knows no structure and no types; what a key means is for the decoder to say, and
// which flaws are errors, too.
package yamlmap

import (
	"errors"
	"fmt"

	"gopkg.in/yaml.v3"
)

// A Pair is a key of a mapping with its value.
type Pair struct {
	Name       string
	Key, Value *yaml.Node // the value is not an alias
}

// A Flaw is something wrong with a mapping. It can still be gone through.
type Flaw struct {
	Node *yaml.Node // at fault
	Name string     // the key that it is about; "": the mapping
	Err  error      // wraps one of those below
}

// What can be wrong with a mapping.
var (
	ErrKey    = errors.New("a key is not a scalar")
	ErrTwice  = errors.New("it was given already")
	ErrItself = errors.New("it merges itself")
	ErrMerge  = errors.New("only mappings can be merged")
)

// Pairs returns what a mapping holds, in its order, and then what it merges. What it says
// itself wins over what it merges, and of several mappings the first wins. A mapping is
// gone through once however often it is merged, so that little text cannot make much work.
func Pairs(node *yaml.Node) ([]Pair, []Flaw) {
	w := &walk{seen: make(map[string]bool), state: make(map[*yaml.Node]state)}
	w.merge(node)
	return w.pairs, w.flaws
}

type state int

const (
	unknown state = iota
	open          // being gone through
	done
)

// A walk is one call of Pairs.
type walk struct {
	pairs []Pair
	flaws []Flaw
	seen  map[string]bool // names in pairs
	state map[*yaml.Node]state
}

func (w *walk) flaw(node *yaml.Node, name string, err error) {
	w.flaws = append(w.flaws, Flaw{node, name, err})
}

// merge goes through a mapping or a list of them.
func (w *walk) merge(node *yaml.Node) {
	node = Resolve(node)
	switch w.state[node] {
	case open:
		w.flaw(node, "", ErrItself)
		return
	case done:
		return
	}
	w.state[node] = open
	switch node.Kind {
	case yaml.MappingNode:
		w.mapping(node)
	case yaml.SequenceNode:
		for _, one := range node.Content {
			w.merge(one)
		}
	default:
		w.flaw(node, "", ErrMerge)
	}
	w.state[node] = done
}

func (w *walk) mapping(node *yaml.Node) {
	own := make(map[string]int) // key to its line
	var merged []*yaml.Node
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], Resolve(node.Content[i+1])
		if key.ShortTag() == "!!merge" {
			merged = append(merged, value)
			continue
		}
		key = Resolve(key)
		name := key.Value
		line, twice := own[name]
		switch {
		case key.Kind != yaml.ScalarNode:
			w.flaw(key, "", ErrKey)
			continue
		case twice:
			w.flaw(key, name, fmt.Errorf("%w, in line %d", ErrTwice, line))
			continue
		}
		own[name] = key.Line
		if !w.seen[name] {
			w.seen[name] = true
			w.pairs = append(w.pairs, Pair{name, key, value})
		}
	}
	for _, other := range merged {
		w.merge(other)
	}
}

// Resolve returns what an alias stands for, and any other node itself.
func Resolve(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node
}

// IsNull tells whether a node is nothing: null, or what is left empty.
func IsNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}
