package main

import (
	"cmp"
	"slices"
	"strings"

	"imagebuilder/builtins/packages"
)

// packageChange is a package that two images have in different versions, or one of them alone.
type packageChange struct {
	Name    string `json:"name"`
	Old     string `json:"old,omitempty"` // version
	New     string `json:"new,omitempty"`
	OldSize int64  `json:"old_size,omitempty"` // bytes, as the package manager has it
	NewSize int64  `json:"new_size,omitempty"`
}

// packageChanges are those of two images, sorted by names.
type packageChanges struct {
	Added   []packageChange `json:"added"`
	Removed []packageChange `json:"removed"`
	Changed []packageChange `json:"changed"`
}

func (p packageChanges) none() bool { return len(p.Added)+len(p.Removed)+len(p.Changed) == 0 }

// changedPackages compares lists of packages. A package may be there in several versions, as
// kernels are, or for several architectures. Where nobody knows one of the lists nothing is said.
func changedPackages(old, new []packages.Package) packageChanges {
	changes := packageChanges{[]packageChange{}, []packageChange{}, []packageChange{}}
	if old == nil || new == nil {
		return changes
	}
	was, is := without(old, new), without(new, old)
	for len(was) > 0 || len(is) > 0 {
		switch order := orderOfNames(was, is); {
		case order < 0:
			changes.Removed = append(changes.Removed, packageChange{Name: was[0].Name, Old: was[0].Version, OldSize: was[0].Size})
			was = was[1:]
		case order > 0:
			changes.Added = append(changes.Added, packageChange{Name: is[0].Name, New: is[0].Version, NewSize: is[0].Size})
			is = is[1:]
		default:
			changes.Changed = append(changes.Changed, packageChange{was[0].Name, was[0].Version, is[0].Version, was[0].Size, is[0].Size})
			was, is = was[1:], is[1:]
		}
	}
	return changes
}

// without returns the packages that others do not have in the same version, sorted.
func without(list, others []packages.Package) []packages.Package {
	have := make(map[[2]string]int)
	for _, p := range others {
		have[[2]string{p.Name, p.Version}]++
	}
	var left []packages.Package
	for _, p := range list {
		if id := [2]string{p.Name, p.Version}; have[id] > 0 {
			have[id]--
			continue
		}
		left = append(left, p)
	}
	slices.SortStableFunc(left, func(a, b packages.Package) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version))
	})
	return left
}

// orderOfNames tells which of two lists begins with the name that comes first.
func orderOfNames(a, b []packages.Package) int {
	switch {
	case len(a) == 0:
		return 1
	case len(b) == 0:
		return -1
	}
	return strings.Compare(a[0].Name, b[0].Name)
}
