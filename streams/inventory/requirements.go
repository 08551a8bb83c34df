package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Requirement files stand above versions and are JSON, unlike all else that is read here.

// Files with requirements for all that is below their directory. The second kind
// is what LXD shall see instead.
const (
	requirementsName    = ".requirements"
	lxdRequirementsName = ".lxd_requirements"
)

// parseRequirements reads a JSON object of single values, taken as they are written.
func parseRequirements(data []byte) (map[string]string, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var raw map[string]any
	if err := dec.Decode(&raw); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("something follows the object")
	}
	values := make(map[string]string, len(raw))
	for key, value := range raw {
		switch value.(type) {
		case string, bool, json.Number:
			values[key] = fmt.Sprint(value)
		default:
			return nil, fmt.Errorf("%q is not a single value", key)
		}
	}
	return values, nil
}

// known are the requirements that the daemons act on. Others do no harm, and no
// good either.
var known = []string{"cdrom_agent", "cdrom_cloud_init", "cgroup", "nesting", "privileged", "secureboot"}

// unknownRequirements returns the keys no daemon knows, sorted.
func unknownRequirements(values map[string]string) []string {
	keys := slices.Sorted(maps.Keys(values))
	return slices.DeleteFunc(keys, func(key string) bool { return slices.Contains(known, key) })
}
