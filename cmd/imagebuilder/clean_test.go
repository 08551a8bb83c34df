package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A cleanRoot is a minimal Debian of this machine's mirror, in which nothing was prepared.
type cleanRoot struct {
	dir   string
	binds map[string]string // directory in it → one of this machine, read-only
}

// cleanDebian makes one, which the end of the test removes.
func cleanDebian(t *testing.T) *cleanRoot {
	t.Helper()
	archive, security := mirrors(t)
	need(t, "mmdebstrap", "mmdebstrap")
	need(t, "unshare", "util-linux")
	root := &cleanRoot{dir: filepath.Join(t.TempDir(), "root"), binds: make(map[string]string)}
	output(t, nil, "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "trixie", root.dir,
		"deb "+archive+" trixie main", "deb "+security+" trixie-security main")
	return root
}

// enterClean makes the clean root the root of a shell, with file systems of its own; all that it
// starts ends with it. Not chroot: there, programs make no namespaces of users.
const enterClean = `set -eu
cd "$1"
mount --bind . .
cd "$PWD"
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount --rbind /dev dev
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs run
[ ! -e /etc/resolv.conf ] || cat /etc/resolv.conf >etc/resolv.conf
cat /etc/hosts >etc/hosts
while read -r from to; do
    mkdir -p ".$to"
    mount --bind "$from" ".$to"
    mount -o remount,bind,ro ".$to"
done <"$2"
script=$3
pivot_root . mnt
umount -l /mnt
cd /root
exec env -i PATH="$PATH" HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive sh -c "$script"
`

// run runs a script as root in it, for half an hour at most.
func (r *cleanRoot) run(t *testing.T, script string) string {
	t.Helper()
	var list strings.Builder
	for to, from := range r.binds {
		list.WriteString(from + " " + to + "\n")
	}
	binds := filepath.Join(t.TempDir(), "binds")
	if err := os.WriteFile(binds, []byte(list.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child", "--ipc", "--uts",
		"sh", "-c", enterClean, "sh", r.dir, binds, script)
	cmd.Env = append(os.Environ(), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	cmd.Stdin = nil
	cmd.WaitDelay = time.Minute
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}
