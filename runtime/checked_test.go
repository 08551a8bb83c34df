package runtime

import (
	"context"
	"strings"
	"testing"
)

// What is wrong with a call of the standard library is said of the call, in the words that it was
// made with and at its line, and is certain whatever a plan assumes.
func TestCheckedCalls(t *testing.T) {
	const text = `load("@stdlib//sources/debian.star", "debootstrap")
load("@stdlib//managers/apt.star", "apt")

def greet(name, place = "here"):
    pass

def main():
    img = image("debian", "trixie")
    root = rootfs(img, manager = apt)
    root.read("/etc/hostname") # is assumed
    `
	for _, test := range []struct{ call, want string }{
		{`debootstrap(img, url = 5)`, "debootstrap: for parameter url: got int, want string"},
		{`debootstrap(img, variant = ["minbase"])`, "debootstrap: for parameter variant: got list, want string"},
		{`debootstrap("debian")`, "debootstrap: for parameter img: got string, want image"},
		{`debootstrap(img, "http://x", "trixie")`, "debootstrap: got 3 arguments without a name, want at most 2"},
		{`debootstrap()`, "debootstrap: missing argument for img"},
		{`debootstrap(img, siute = "x")`, `debootstrap: unexpected keyword argument "siute" (did you mean suite?)`},
		{`install(root, "vim")`, "install: for parameter packages: got string, want list"},
		{`install(root, ("vim",))`, "install: for parameter packages: got tuple, want list"},
		{`install(img, ["vim"])`, "install: for parameter root: got image, want rootfs"},
		{`install(root, ["vim"], update = "yes")`, "install: for parameter update: got string, want bool"},
		{`disk(root, size = 3)`, "disk: for parameter size: got int, want string"},
		{`disk(root, size = b"1")`, "disk: for parameter size: got bytes, want string"},
		{`generate(root, "hostname", paht = "x")`, `hostname: unexpected keyword argument "paht" (did you mean path?)`},
		{`generate(root, "hostname", path = 3)`, "hostname: for parameter path: got int, want string"},
		{`rootfs(img, manager = "apt")`, "a string is no package manager, want one such as apt of @stdlib//managers/apt.star"},
		{`greet("x", plaec = "there")`, `greet: unexpected keyword argument "plaec" (did you mean place?)`},
		{`greet(type(install), str(seal) + str(install == install))`, ""},
		{"l = []; l.append(l); install(root, [\"x\"], update = l)", "install: for parameter update: got list, want bool"},
	} {
		r, err := LoadText(context.Background(), "x.star", text+test.call+"\n", Config{Machine: "x86_64"})
		if err != nil {
			t.Errorf("%s: %v", test.call, err)
			continue
		}
		planner, err := r.Check()
		if test.want == "" {
			if err != nil || planner.Doubtful != nil {
				t.Errorf("%s: %v, %v", test.call, err, planner.Doubtful)
			}
			continue
		}
		if err == nil || !strings.HasPrefix(Explain(err), "x.star:11:") || !strings.HasSuffix(Explain(err), "error: "+test.want+"\n") || strings.Contains(Explain(err), "\n@stdlib") {
			t.Errorf("%s: got %v (doubtful: %v), want %q", test.call, err, planner.Doubtful, test.want)
		}
	}
}
