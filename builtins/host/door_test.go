package host

import (
	"strings"
	"testing"
)

// On Ubuntu a user namespace may be one in which nothing can be done, which the label tells.
func TestDisarmed(t *testing.T) {
	for label, want := range map[string]bool{
		"unprivileged_userns (enforce)\n": true, "unconfined\n": false, "imagebuilder (unconfined)\n": false, "": false,
	} {
		if got := disarmed(label); got != want {
			t.Errorf("%q: %v", label, got)
		}
	}
	said := apparmorError().Error()
	for _, want := range []string{
		"the setting kernel.apparmor_restrict_unprivileged_userns is 1; have the administrator run \"echo 'abi <abi/4.0>, profile imagebuilder \"/",
		"flags=(unconfined) { userns, }' >/etc/apparmor.d/imagebuilder && apparmor_parser -r /etc/apparmor.d/imagebuilder\", or run this as root",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %s:\n%s", want, said)
		}
	}
}
