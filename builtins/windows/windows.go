// Package windows puts drivers into Windows installation media: it reads such media and what
// is told about the images on them, reads the INF files of drivers, and makes a medium whose
// images hold further files and registry values.
//
// Which drivers a version of Windows takes, where their files go and what the registry is to
// say about them is not known here; that is data of the standard library.
package windows

import (
	"encoding/binary"
	"errors"
	"fmt"
)

var le = binary.LittleEndian

// damaged says that bytes are not what their format wants.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// ErrDamaged is the cause where a file does not hold what it begins like.
var ErrDamaged = errors.New("it is damaged")
