package builtins

import (
	"fmt"
	"path"
)

// packedRoots are the files with root file systems that a run has packed, and where in
// the recipe. Of the metadata a container and a virtual machine may share a file.
type packedRoots map[string]string

// add refuses a pack that would take the place of an earlier one of the run.
func (p *packedRoots) add(s *Step, dir string, parts []Part) error {
	if *p == nil {
		*p = make(packedRoots)
	}
	name := path.Join(dir, parts[len(parts)-1].File)
	if place, ok := (*p)[name]; ok {
		return fmt.Errorf("%s is packed already, at %s; give one of them a directory by dir", name, place)
	}
	(*p)[name] = s.At()
	return nil
}
