package sandbox_test

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"imagebuilder/builtins/sandbox"
)

// Programs find what this process serves, and no other network; and the listener ends with them.
func TestProxy(t *testing.T) {
	stack := newStack(t)
	ended := make(chan error, 1)
	serve := func(listener net.Listener) {
		for {
			conn, err := listener.Accept()
			if err != nil {
				ended <- err
				return
			}
			conn.Write([]byte("from outside\n"))
			conn.Close()
		}
	}
	var out bytes.Buffer
	err := sandbox.Run(t.Context(), sandbox.Spec{Root: stack, Proxy: serve}, sandbox.Programs{List: []sandbox.Program{
		{Args: []string{"/bin/busybox", "sh", "-c", "busybox nc 127.0.0.1 3129 </dev/null; busybox ip -o link; busybox ip route"}},
	}}, &out)
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	text := out.String()
	if !strings.HasPrefix(text, "from outside\n") || strings.Count(text, ": ") > 2 || !strings.Contains(text, "lo:") {
		t.Errorf("programs see\n%s", text)
	}
	if err := <-ended; err == nil {
		t.Error("the listener has not ended")
	}
}

// Where the child ends before it listens, nobody waits for it.
func TestProxyOfNoChild(t *testing.T) {
	stack := newStack(t)
	stack.Point += "/none"
	served := false
	err := sandbox.Run(t.Context(), sandbox.Spec{Root: stack, Proxy: func(l net.Listener) { served = true; l.Accept() }},
		sandbox.Programs{List: []sandbox.Program{{Args: []string{"true"}}}}, new(bytes.Buffer))
	if err == nil {
		t.Errorf("it has run; served: %v", served)
	}
}
