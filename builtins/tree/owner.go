package tree

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Names of users and groups are those of the image, which this machine need not have.

// lookup finds the number of a user or group: database is the image's own
// /etc/passwd or /etc/group, both of which have the name in the first field and
// the number in the third.
func (r editor) lookup(database, name string) (int, error) {
	if n, err := strconv.ParseUint(name, 10, 32); err == nil {
		return int(n), nil
	}
	data, err := r.ReadFile(database, maxRead)
	if err != nil {
		return 0, err
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 3 || fields[0] != name {
			continue
		}
		n, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil {
			return 0, fmt.Errorf("%s: %q has the number %q", database, name, fields[2])
		}
		return int(n), nil
	}
	return 0, fmt.Errorf("%s: no entry %q", database, name)
}
