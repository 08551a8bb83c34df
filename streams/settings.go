package streams

import (
	"path"
	"slices"

	"imagebuilder/streams/site"
)

// settings are what configuration says of a product.
type settings struct {
	os              string
	releases        []string // further names of the release
	requirements    map[string]string
	lxdRequirements map[string]string // nil: the same
}

// A settingsReader reads the configuration of products.
type settingsReader struct {
	files    *site.Files
	upstream bool
}

// read returns the settings of a product: what the files above its versions say,
// and then, nearer and so stronger, the image definition beside the last version
// that is listed. In the old tool's way that is the last complete version, listed or
// not. The troubles are files that cannot be read.
func (r *settingsReader) read(p *product, ordered []*version) (settings, []trouble) {
	s := settings{requirements: map[string]string{}}
	var troubles []trouble
	for _, l := range p.levels {
		if err := r.addLevel(&s, l); err != nil {
			troubles = append(troubles, trouble{l.path, err})
		}
	}
	for _, v := range slices.Backward(ordered) {
		if v.verdict != good && !(r.upstream && v.verdict == rejected) {
			continue
		}
		c, err := readConfig(r.files, p.place.Of(v.name), v)
		if err != nil {
			troubles = append(troubles, trouble{p.place.Of(v.name).Path(), err})
			continue
		}
		if c != nil {
			s.os, s.releases = c.distroName, c.aliasesOf(p.place.Product.Release)
			c.requirementsOf(p.place.Product, s.requirements)
		}
		break
	}
	return s, troubles
}

func (r *settingsReader) addLevel(s *settings, l level) error {
	data, err := r.files.ReadSmall(l.path)
	if err != nil {
		return err
	}
	values, err := parseRequirements(data)
	if err != nil {
		return err
	}
	into := s.requirements
	if path.Base(l.path) == lxdRequirementsName {
		if s.lxdRequirements == nil {
			s.lxdRequirements = map[string]string{}
		}
		into = s.lxdRequirements
	}
	for key, value := range values {
		into[key] = value
	}
	return nil
}
