package inventory

import (
	"path"
	"slices"

	"imagebuilder/streams/site"
)

// What is said of a product in several files, from far to near, becomes one here.

// settings are what configuration says of a product.
type settings struct {
	os              string
	releases        []string // further names of the release
	requirements    map[string]string
	lxdRequirements map[string]string // nil: the same
}

// A SettingsReader reads the configuration of products.
type SettingsReader struct {
	Files    *site.Files
	Upstream bool
}

// Read returns the settings of a product: what the files above its versions say,
// and then, nearer and so stronger, the image definition beside the last version
// that is listed. In the old tool's way that is the last complete version, listed or
// not. The troubles are files that cannot be read.
func (r *SettingsReader) Read(p *FoundProduct, ordered []*FoundVersion) (settings, []Trouble) {
	s := settings{requirements: map[string]string{}}
	var troubles []Trouble
	for _, l := range p.levels {
		if err := r.addLevel(&s, l); err != nil {
			troubles = append(troubles, Trouble{l.path, err})
		}
	}
	for _, v := range slices.Backward(ordered) {
		if v.Verdict != Good && !(r.Upstream && v.Verdict == Rejected) {
			continue
		}
		c, err := readConfig(r.Files, p.Location.Of(v.Name), v)
		if err != nil {
			troubles = append(troubles, Trouble{p.Location.Of(v.Name).Path(), err})
			continue
		}
		if c != nil {
			s.os, s.releases = c.distroName, c.aliasesOf(p.Location.Product.Release)
			c.requirementsOf(p.Location.Product, s.requirements)
		}
		break
	}
	return s, troubles
}

func (r *SettingsReader) addLevel(s *settings, l level) error {
	data, err := r.Files.ReadSmall(l.path)
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
