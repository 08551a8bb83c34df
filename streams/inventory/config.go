package inventory

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"imagebuilder/builtins/yamlmap"
	"imagebuilder/streams/catalog"
)

// The image definition that may stand beside an image is that of the builder, read here for
// the one section that concerns a site. Its text is from strangers: see FuzzConfig.

// An ImageConfig is the simplestream section of an image definition.
type ImageConfig struct {
	distroName   string
	aliases      map[string]string // release to further names of it, separated by commas
	requirements []requirement
	unknown      []string // keys that mean nothing here
}

// A requirement holds for the products that pass all its filters.
type requirement struct {
	values                            map[string]string
	releases, architectures, variants []string
	never                             bool // it is for one type of image, and requirements belong to products
}

// parseConfig reads an image definition. Only its simplestream section is looked
// at: a fault elsewhere in the file is not this tool's business.
func parseConfig(data []byte) (*ImageConfig, error) {
	var doc struct {
		Simplestream yaml.Node `yaml:"simplestream"`
	}
	if len(strings.TrimSpace(string(data))) == 0 {
		return nil, errors.New("the file is empty")
	}
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	c := &ImageConfig{aliases: map[string]string{}}
	if doc.Simplestream.IsZero() || yamlmap.IsNull(&doc.Simplestream) {
		return c, nil
	}
	if err := c.read(&doc.Simplestream); err != nil {
		return nil, fmt.Errorf("simplestream: %w", err)
	}
	return c, nil
}

func (c *ImageConfig) read(node *yaml.Node) error {
	return eachKey(node, func(key string, value *yaml.Node) error {
		var err error
		switch key {
		case "distro_name":
			c.distroName, err = scalar(value)
		case "release_aliases":
			c.aliases, err = stringMap(value)
		case "requirements":
			c.requirements, err = c.readRequirements(value)
		default:
			c.unknown = append(c.unknown, key)
		}
		return err
	})
}

func (c *ImageConfig) readRequirements(node *yaml.Node) ([]requirement, error) {
	if yamlmap.IsNull(node) {
		return nil, nil
	}
	if node.Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("line %d: not a list", node.Line)
	}
	var list []requirement
	for _, entry := range node.Content {
		r, err := c.readRequirement(entry)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// readRequirement takes the filters in the plural, as the old tool reads them, and
// in the singular, as its documentation spells one of them.
func (c *ImageConfig) readRequirement(node *yaml.Node) (requirement, error) {
	var r requirement
	err := eachKey(node, func(key string, value *yaml.Node) error {
		var err error
		switch key {
		case "requirements":
			r.values, err = stringMap(value)
		case "releases", "release":
			r.releases, err = stringList(value)
		case "architectures", "architecture":
			r.architectures, err = stringList(value)
		case "variants", "variant":
			r.variants, err = stringList(value)
		case "types", "type":
			r.never, err = typesFilter(value)
		default:
			c.unknown = append(c.unknown, "requirements."+key)
		}
		return err
	})
	return r, err
}

func typesFilter(node *yaml.Node) (bool, error) {
	types, err := stringList(node)
	for _, t := range types {
		if t != "container" && t != "vm" {
			return false, fmt.Errorf("line %d: unknown type %q", node.Line, t)
		}
	}
	return len(types) > 0, err
}

// aliasesOf returns the further names of a release.
func (c *ImageConfig) aliasesOf(release string) []string {
	return strings.Split(c.aliases[release], ",")
}

// requirementsOf merges what holds for a product into values; later entries win.
func (c *ImageConfig) requirementsOf(n catalog.Name, values map[string]string) {
	for _, r := range c.requirements {
		if r.never || !passes(r.releases, n.Release) || !passes(r.architectures, n.Arch) || !passes(r.variants, n.Variant) {
			continue
		}
		for key, value := range r.values {
			values[key] = value
		}
	}
}

// WithoutEffect returns the keys that mean nothing to this tool, and the
// requirements that mean nothing to the daemons.
func (c *ImageConfig) WithoutEffect(n catalog.Name) []string {
	values := map[string]string{}
	c.requirementsOf(n, values)
	return append(slices.Clone(c.unknown), unknownRequirements(values)...)
}

func passes(filter []string, name string) bool {
	return len(filter) == 0 || slices.Contains(filter, name)
}

// eachKey calls fn with the pairs of a mapping, those it merges from others included. A
// key counts where it is met first.
func eachKey(node *yaml.Node, fn func(key string, value *yaml.Node) error) error {
	node = yamlmap.Resolve(node)
	if yamlmap.IsNull(node) {
		return nil
	}
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: not a map", node.Line)
	}
	pairs, flaws := yamlmap.Pairs(node)
	for _, f := range flaws {
		if errors.Is(f.Err, yamlmap.ErrMerge) { // the others can be lived with
			return fmt.Errorf("line %d: not a map", f.Node.Line)
		}
	}
	for _, p := range pairs {
		if err := fn(p.Name, p.Value); err != nil {
			return err
		}
	}
	return nil
}

// scalar returns a value as it is written: "false", "24.04", "013".
func scalar(node *yaml.Node) (string, error) {
	node = yamlmap.Resolve(node)
	if node.Kind != yaml.ScalarNode {
		return "", fmt.Errorf("line %d: not a single value", node.Line)
	}
	if yamlmap.IsNull(node) {
		return "", nil
	}
	return node.Value, nil
}

func stringMap(node *yaml.Node) (map[string]string, error) {
	m := map[string]string{}
	err := eachKey(node, func(key string, value *yaml.Node) error {
		text, err := scalar(value)
		m[key] = text
		return err
	})
	return m, err
}

func stringList(node *yaml.Node) ([]string, error) {
	if yamlmap.IsNull(node) {
		return nil, nil
	}
	if node.Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("line %d: not a list", node.Line)
	}
	var list []string
	for _, entry := range node.Content {
		text, err := scalar(entry)
		if err != nil {
			return nil, err
		}
		list = append(list, text)
	}
	return list, nil
}
