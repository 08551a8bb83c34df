package host

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
)

// Subordinate ids are those that the administrator lets a user give out: see subuid(5). An
// image needs those up to 65535, of which its root is the user.

// neededIDs is how many subordinate ids a build needs.
const neededIDs = 65535

// idRanges are subordinate ids in the order in which they are taken.
type idRanges [][2]int64 // the first and how many

func (r idRanges) count() (n int64) {
	for _, one := range r {
		n += one[1]
	}
	return n
}

// args are those of newuidmap and its kin: 0 is the user's own id, what follows are those of
// the ranges.
func (r idRanges) args(own int) []string {
	args := []string{"0", fmt.Sprint(own), "1"}
	inside := int64(1)
	for _, one := range r {
		n := min(one[1], neededIDs+1-inside)
		if n <= 0 {
			break
		}
		args = append(args, fmt.Sprint(inside), fmt.Sprint(one[0]), fmt.Sprint(n))
		inside += n
	}
	return args
}

// readRanges reads the ranges of a user from the text of /etc/subuid or /etc/subgid. A line
// that makes no sense is nobody's, as newuidmap has it.
func readRanges(text, name string, uid int) (list idRanges) {
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) != 3 || fields[0] != name && fields[0] != fmt.Sprint(uid) || fields[0] == "" {
			continue
		}
		first, err1 := strconv.ParseInt(fields[1], 10, 64)
		count, err2 := strconv.ParseInt(fields[2], 10, 64)
		if err1 == nil && err2 == nil && first >= 0 && count > 0 && first <= allIDs && count <= allIDs {
			list = append(list, [2]int64{first, count})
		}
	}
	return list
}

// subordinate returns the ranges of this process's user, for users' ids and for groups'.
func subordinate() (users, groups idRanges, err error) {
	uid := os.Geteuid()
	name := "" // not every id has one
	if u, err := user.LookupId(fmt.Sprint(uid)); err == nil {
		name = u.Username
	}
	for _, of := range []struct {
		file string
		list *idRanges
	}{{"/etc/subuid", &users}, {"/etc/subgid", &groups}} {
		text, err := os.ReadFile(of.file)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
		*of.list = readRanges(string(text), name, uid)
		if n := of.list.count(); n < neededIDs {
			who := name
			if who == "" {
				who = fmt.Sprint(uid)
			}
			return nil, nil, tooFewIDs(of.file, who, n)
		}
	}
	return users, groups, nil
}

// tooFewIDs says what the administrator is to do.
func tooFewIDs(file, who string, n int64) error {
	has := "gives no ids to " + who
	if n > 0 {
		has = fmt.Sprintf("gives %d ids to %s", n, who)
	}
	return fmt.Errorf("%s %s, and a build needs %d: have the administrator run 'usermod --add-subuids %[4]s --add-subgids %[4]s %[5]s', with ids that nobody else has", file, has, neededIDs, freeIDs(), who)
}

// freeIDs is a range that no line of the files has yet.
func freeIDs() string {
	next := int64(100000)
	for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
		text, _ := os.ReadFile(file)
		for line := range strings.Lines(string(text)) {
			fields := strings.Split(strings.TrimSpace(line), ":")
			if len(fields) != 3 {
				continue
			}
			for _, r := range readRanges(line, fields[0], -1) {
				next = max(next, r[0]+r[1])
			}
		}
	}
	return fmt.Sprintf("%d-%d", next, next+neededIDs)
}
