package unpack

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"imagebuilder/builtins/host"
)

// What programs that unpack complain of, in the language of [host.Environ], and what of that
// is a failure: none that only says what is meant to be so.

// harmless are ends and beginnings of lines that say nothing that went wrong, or only that
// something was said before. Names may be bytes that are no UTF-8, which bsdtar keeps as they
// are. For gzip see gunzip.
var harmless = []string{
	": Not found in archive$",
	": [A-Z][a-z]* can't be converted from UTF-8 to current locale",
	": Error exit delayed from previous errors",
	": Exiting with failure status due to previous errors$",
	"^tar: Removing leading ",
	"decompression OK, trailing garbage ignored$",
	"^$",
}

// refusals are what programs say of a device node that they may not make, which only the
// machine's root can; the name is between the brackets.
var refusals = []string{
	`^tar: (.*): Cannot mknod: Operation not permitted$`,
	`^.*: Can't create '(.*)': Operation not permitted$`,
	`^create_inode: failed to create [a-z]+ device %s(.*), because Operation not permitted$`,
}

// unlinked is what bsdtar says of another name for such a node, in archives that have nodes once.
// Of names elsewhere than below /dev it may be said for other reasons.
const unlinked = `^((\./|/)*dev/.*): Hard-link target '.*' does not exist\.: No such file or directory$`

// shownNodes is how many device nodes an error names.
const shownNodes = 5

// refused is how a script begins the line that says which device nodes it could not make.
const refused = "it has device nodes, which only the machine's root can make: "

// Refused is what is wrong with an archive whose script has ended so, if it is that: it has
// device nodes outside of /dev, and the user can make none.
func Refused(err error) string {
	var exit *host.ExitError
	if !errors.As(err, &exit) {
		return ""
	}
	_, names, found := strings.Cut(exit.Output, refused)
	if !found {
		return ""
	}
	return refused + strings.TrimSpace(names) + "; leave them out by exclude, or run this as root"
}

// judged is a command that fails if what it says is of importance. A pattern may match nothing
// as long as another matches something: archives of several shapes are unpacked by one list.
// Device nodes that would be below /dev need not be made: an image has none there.
func (o Options) judged(p Places, command string) string {
	expected, extract := []string{}, []string{}
	for _, line := range harmless {
		expected = append(expected, "-e", line)
	}
	into := strings.TrimSuffix(path.Clean("/"+p.Into), "/") + "/"
	known := refusals
	if into == "/" {
		known = append(slices.Clone(refusals), unlinked)
	}
	for _, line := range known {
		line = strings.ReplaceAll(line, "%s", regexp.QuoteMeta(p.Out))
		expected = append(expected, "-e", line)
		extract = append(extract, "-e", "s\x01"+line+"\x01\\1\x01p")
	}
	text := fmt.Sprintf(`status=0
{ %s; } 2>/tmp/errors || status=$?
if [ -s /tmp/errors ] || [ $status != 0 ]; then
    export LC_ALL=C
    into=%s refused=0 nodes=()
    while IFS= read -r name; do
        refused=1
        while [[ $name = ./* || $name = /* ]]; do name=${name:1}; done
        [[ $into$name = /dev/* ]] || nodes+=("$into$name")
    done < <(sed -n -E %s /tmp/errors)
    if grep -a -v -E %s /tmp/errors >&2 || [ $status -gt $((1 + refused)) ] || [ $status = 1 -a ! -s /tmp/errors ]; then
        exit $status
    fi
    if [ ${#nodes[@]} != 0 ]; then
        printf '%%s' %s "${nodes[0]}" >&2
        for name in "${nodes[@]:1:%d}"; do printf ', %%s' "$name" >&2; done
        [ ${#nodes[@]} -le %[7]d ] || printf ' and %%d more' $((${#nodes[@]} - %[7]d)) >&2
        echo >&2
        exit 1
    fi
fi`, command, host.Quote([]string{into}), host.Quote(extract), host.Quote(expected), host.Quote([]string{refused}), shownNodes-1, shownNodes)
	if len(o.Only) > 0 {
		text += fmt.Sprintf(`
missed=$(grep -a -c ': Not found in archive$' /tmp/errors) || :
if [ "$missed" -ge %d ]; then
    echo "nothing in it matches" %s >&2
    exit 1
fi`, len(o.Only), host.Quote(o.Only))
	}
	return text
}
