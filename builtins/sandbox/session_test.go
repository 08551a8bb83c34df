package sandbox_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"imagebuilder/builtins/sandbox"
)

// next makes the stack of the step after one.
func next(t *testing.T, stack *sandbox.Stack) *sandbox.Stack {
	t.Helper()
	n := *stack
	n.Lower = append(n.Lower[:len(n.Lower):len(n.Lower)], n.Upper)
	dir := t.TempDir()
	n.Upper, n.Work = filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	for _, d := range []string{n.Upper, n.Work} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return &n
}

func TestSession(t *testing.T) {
	tests := []struct {
		summary string
		steps   []string
		out     string // of the last
		kept    string // what is still in the session, as a pattern
	}{{
		summary: "what a step leaves in /tmp, /run and /dev/shm is there for the next",
		steps: []string{
			"echo a >/tmp/a; mkdir /run/lock; echo b >/dev/shm/b; ln -s a /tmp/l",
			"cat /tmp/l /dev/shm/b; stat -c %a /tmp /run /dev/shm /run/lock",
		},
		out:  "a\nb\n1777\n755\n1777\n755\n",
		kept: "tmp/a",
	}, {
		summary: "what a step removes is gone, and programs see nothing of where it was",
		steps:   []string{"echo a >/tmp/a", "rm /tmp/a", "ls /tmp; ls /proc/session 2>/dev/null || echo none"},
		out:     "none\n",
	}, {
		summary: "guests are not part of it, even where their place is",
		steps:   []string{"rm /etc/resolv.conf; ln -s /run/resolv.conf /etc/resolv.conf", "cat /run/resolv.conf", "rm /etc/resolv.conf", "ls /run"},
		out:     "",
	}, {
		summary: "a guest that a step has made its own does not come again",
		steps:   []string{"cat /etc/resolv.conf; echo mine >/etc/own; mv /etc/own /etc/resolv.conf", "cat /etc/resolv.conf", "cat /etc/resolv.conf"},
		out:     "mine\n",
	}, {
		summary: "a tmpfs stays with its content",
		steps: []string{
			"mkdir /work; mount -t tmpfs none /work; echo a >/work/a; mkdir /work/d; mount -t tmpfs none /work/d; echo b >/work/d/b",
			"cat /work/a /work/d/b; echo c >>/work/a", "cat /work/a",
		},
		out:  "a\nc\n",
		kept: "mount1/b",
	}, {
		summary: "one that is unmounted goes with it",
		steps:   []string{"mkdir /work; mount -t tmpfs none /work; echo a >/work/a", "umount /work", "ls /work"},
		out:     "",
	}, {
		summary: "a directory stays mounted on another",
		steps:   []string{"mkdir /a /b; echo x >/a/x; mount -o bind /a /b", "cat /b/x; echo y >/b/y", "cat /a/y; umount /b; ls /b"},
		out:     "y\n",
	}, {
		summary: "and so do one of the session and a device",
		steps:   []string{"mkdir /a; mount -o bind /tmp /a; touch /null; mount -o bind /dev/null /null", "echo x >/a/x; echo y >/null", "cat /tmp/x /null"},
		out:     "x\n",
	}, {
		summary: "what is read-only stays so",
		steps: []string{
			"mkdir /a /b /c; echo x >/a/x; mount -o bind /a /b; mount -o remount,bind,ro /b; mount -t tmpfs none /c; echo c >/c/c; mount -o remount,bind,ro,noexec /c",
			"touch /b/y 2>/dev/null || echo no; touch /c/y 2>/dev/null || echo no; cat /b/x /c/c",
			"touch /b/y 2>/dev/null || echo no; umount /c; umount /b; echo y >/a/y; ls /a",
		},
		out: "no\nx\ny\n",
	}, {
		summary: "a file system of the kernel is mounted again",
		steps:   []string{"mkdir /p; mount -t proc none /p", "readlink /p/1/root >/dev/null || true; ls /p/self/status"},
		out:     "/p/self/status\n",
	}, {
		summary: "what is unmounted stays so",
		steps:   []string{"umount /run; umount /dev/shm", "grep -c -e ' /run ' -e ' /dev/shm ' /proc/mounts || true"},
		out:     "0\n",
	}, {
		summary: "a mount that has the number of one that was unmounted is another",
		steps: []string{
			`set -- $(grep ' /dev/shm ' /proc/self/mountinfo); n=0; mkdir /w; umount /dev/shm; sleep 0.2
			until [ $n -gt 99 ] || [ $n -gt 0 ] && grep -q "^$1 " /proc/self/mountinfo; do
				n=$((n+1)); mkdir /w/$n; mount -t tmpfs none /w/$n
			done
			echo a >/w/$n/a; ln -s /w/$n /last`,
			"cat /last/a",
		},
		out: "a\n",
	}, {
		summary: "a directory of a tmpfs stays mounted when that is unmounted",
		steps: []string{
			"mkdir /work /b; mount -t tmpfs none /work; mkdir /work/d; echo a >/work/d/a",
			"mount -o bind /work/d /b", "umount /work", "cat /b/a",
		},
		out: "a\n",
	}, {
		summary: "what was mounted from a name that is gone stays",
		steps: []string{
			"mkdir /tmp/d /b; echo a >/tmp/a; echo old >/etc/a; mount -o bind /tmp/a /etc/a; mount -o bind /tmp/d /b; rm -r /tmp/a /tmp/d",
			"cat /etc/a; ls /b", "cat /etc/a; umount /etc/a; cat /etc/a",
		},
		out: "a\nold\n",
	}, {
		summary: "a mount on one that was unmounted, too",
		steps:   []string{"umount /run; mount -t tmpfs none /run; echo a >/run/a", "cat /run/a; grep -c ' /run ' /proc/mounts"},
		out:     "a\n1\n",
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			stack := newStack(t)
			var out bytes.Buffer
			for i, step := range test.steps {
				if i > 0 {
					stack = next(t, stack)
				}
				out.Reset()
				spec := sandbox.Spec{Root: stack, Session: true, Guests: guests}
				if err := sandbox.Run(context.Background(), spec, script(step), &out); err != nil {
					t.Fatalf("step %d: %v\n%s", i, err, &out)
				}
			}
			if out.String() != test.out {
				t.Errorf("got %q, want %q", &out, test.out)
			}
			got := merged(t, stack)
			if test.kept != "" && !strings.Contains(got, fmt.Sprintf("%s/%s file", sandbox.SessionDir, test.kept)) {
				t.Errorf("%s is not kept:\n%s", test.kept, got)
			}
		})
	}
}

// Without a session nothing lasts.
func TestNoSession(t *testing.T) {
	stack := newStack(t)
	var out bytes.Buffer
	for _, step := range []string{"echo a >/tmp/a; mkdir /work; mount -t tmpfs none /work; echo a >/work/a", "ls /tmp /work"} {
		out.Reset()
		if err := sandbox.Run(context.Background(), sandbox.Spec{Root: stack}, script(step), &out); err != nil {
			t.Fatalf("%v\n%s", err, &out)
		}
		if got := merged(t, stack); strings.Contains(got, sandbox.SessionDir) {
			t.Errorf("got:\n%s", got)
		}
		stack = next(t, stack)
	}
	if want := "/tmp:\n\n/work:\n"; out.String() != want {
		t.Errorf("got %q, want %q", &out, want)
	}
}
