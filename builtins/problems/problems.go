// Package problems collects what is wrong where a person is told of all of it at once:
// what validation, doctor, verify and check find, and what clean-up comes to after a
// failure. Each problem is said once, in the order in which it was found, on lines of its
// own. An error that merely passes by is wrapped, not collected.
package problems

import (
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"
)

// Join returns errors as one, nil if there are none. Those that say the same as an earlier
// one are left out, and nil ones do not count. What is in it is found by errors.Is and
// errors.As.
func Join(errs ...error) error {
	var all *multierror.Error
	said := make(map[string]bool)
	for _, err := range errs {
		for _, one := range List(err) {
			if !said[one.Error()] {
				said[one.Error()] = true
				all = multierror.Append(all, one)
			}
		}
	}
	switch {
	case all == nil:
		return nil
	case len(all.Errors) == 1:
		return all.Errors[0]
	}
	all.ErrorFormat = lines
	return all
}

// List takes apart what Join has put together; any other error is a problem itself.
func List(err error) []error {
	if err == nil {
		return nil
	}
	if list, ok := err.(*multierror.Error); ok {
		return list.Errors
	}
	return []error{err}
}

// Without returns what is wrong besides what is known to be, nil if that is all.
func Without(err, known error) error {
	var more []error
	for _, one := range List(err) {
		if !slices.ContainsFunc(List(known), func(k error) bool { return k.Error() == one.Error() }) {
			more = append(more, one)
		}
	}
	return Join(more...)
}

// lines is our format: no count, no bullets.
func lines(errs []error) string {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "\n")
}
