package host_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"imagebuilder/builtins/host"
)

func TestCommand(t *testing.T) {
	tests := []struct {
		summary string
		args    []string
		stdout  string
		err     string
		output  string
	}{{
		summary: "success",
		args:    []string{"sh", "-c", "echo out; echo err >&2"},
		stdout:  "out\n",
	}, {
		summary: "failure carries the last lines of both streams",
		args:    []string{"sh", "-c", "echo out; sleep 0.1; echo err >&2; exit 3"},
		stdout:  "out\n",
		err:     `sh -c 'echo out; sleep 0.1; echo err >&2; exit 3': exit status 3`,
		output:  "out\nerr",
	}, {
		summary: "a program that is not there",
		args:    []string{"no-such-program"},
		err:     "cannot run no-such-program: executable file not found in $PATH",
	}}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			var out bytes.Buffer
			err := host.Command{Args: test.args, Stdout: &out}.Run(context.Background())
			if out.String() != test.stdout {
				t.Errorf("standard output %q", &out)
			}
			if (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
				t.Fatalf("got %v, want %s", err, test.err)
			}
			var exit *host.ExitError
			if errors.As(err, &exit) && exit.Output != test.output {
				t.Errorf("last lines %q", exit.Output)
			}
		})
	}
}

func TestCommandIsCancelled(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	time.AfterFunc(50*time.Millisecond, func() { cancel(cause) })
	start := time.Now()
	err := host.Command{Args: []string{"sh", "-c", "trap '' TERM; sleep 60"}, Grace: 50 * time.Millisecond}.Run(ctx)
	if err != cause {
		t.Errorf("got %v", err)
	}
	if time.Since(start) > 20*time.Second {
		t.Error("it was not killed after the grace period")
	}
}

// Nothing of the caller's environment changes what a program does.
func TestCommandHasNothingOfTheCaller(t *testing.T) {
	t.Setenv("XZ_OPT", "--check=none")
	t.Setenv("SOURCE_DATE_EPOCH", "5")
	t.Setenv("LC_ALL", "de_DE.UTF-8")
	var out bytes.Buffer
	err := host.Command{Args: []string{"sh", "-c", "echo ${XZ_OPT-none} ${SOURCE_DATE_EPOCH-none} $LC_ALL"}, Stdout: &out}.Run(context.Background())
	if err != nil || out.String() != "none none C.UTF-8\n" {
		t.Errorf("%q, %v", &out, err)
	}
}

func TestTail(t *testing.T) {
	var tail host.Tail
	for i := range 30 {
		tail.Write([]byte(strings.Repeat("x", i)))
		tail.Write([]byte("\n"))
	}
	tail.Write([]byte("part"))
	lines := strings.Split(tail.String(), "\n")
	if len(lines) != 20 || lines[19] != "part" || len(lines[18]) != 29 {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}

func TestQuote(t *testing.T) {
	if got := host.Quote([]string{"a", "", "b c", "it's", "--x=y"}); got != `a '' 'b c' 'it'\''s' --x=y` {
		t.Errorf("got %s", got)
	}
}

func TestClock(t *testing.T) {
	epoch, err := host.ParseEpoch("086400")
	if err != nil || epoch != "86400" || epoch.Clock()().Format(time.DateTime) != "1970-01-02 00:00:00" {
		t.Errorf("%q: %v", epoch, err)
	}
	for _, text := range []string{"soon", "-1", "1.5", " 1"} {
		if _, err := host.ParseEpoch(text); err == nil {
			t.Errorf("%q is no error", text)
		}
	}
}

func TestEpochInEnvironment(t *testing.T) {
	for _, test := range []struct {
		epoch       host.Epoch
		given, want string
	}{
		{"", "A=1", "A=1"},
		{"5", "A=1", "A=1 SOURCE_DATE_EPOCH=5"},
		{"5", "SOURCE_DATE_EPOCH=7 A=1", "SOURCE_DATE_EPOCH=7 A=1"},
	} {
		if got := strings.Join(test.epoch.In(strings.Fields(test.given)), " "); got != test.want {
			t.Errorf("%q in %s: %s, want %s", test.epoch, test.given, got, test.want)
		}
	}
}

// What a program has written arrives, whatever time its reader takes and whoever else has
// the pipe open.
func TestOutputArrives(t *testing.T) {
	const grace = 100 * time.Millisecond
	lines := strings.Repeat("line\n", 1<<14) // more than a pipe holds
	print := "head -c 81920 /dev/zero | tr '\\0' x; echo"
	tests := []struct {
		summary string
		script  string
		out     slow
		want    int
		errText string
		patient bool // what comes last may come late on a busy machine
	}{
		{"a reader that takes longer than the grace period", print, slow{pause: 3 * grace}, 81921, "", false},
		{"a reader that takes nothing", "exec yes", slow{err: errors.New("enough")}, 0, "sh -c 'exec yes': signal: broken pipe", false},
		{"a child that holds the pipe", "sleep 60 & echo", slow{}, 1, "", false},
		{"a child that holds the pipe of a program that fails", "sleep 60 & echo; exit 3", slow{}, 1, "sh -c 'sleep 60 & echo; exit 3': exit status 3", false},
		{"a child that writes at last", "{ sleep 0.01; echo; } & echo", slow{}, 2, "", true},
		{"input that is not read", "echo", slow{}, 1, "", false},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			t.Parallel()
			grace := grace
			if test.patient {
				grace = time.Minute
			}
			err := host.Command{Args: []string{"sh", "-c", test.script}, Stdin: strings.NewReader(lines), Stdout: &test.out, Grace: grace}.Run(context.Background())
			if test.out.n != test.want {
				t.Errorf("%d bytes have arrived, want %d", test.out.n, test.want)
			}
			if (err == nil) != (test.errText == "") || err != nil && err.Error() != test.errText {
				t.Errorf("got %v, want %s", err, test.errText)
			}
		})
	}
}

// A slow writer takes its time for what comes first.
type slow struct {
	pause time.Duration
	err   error
	n     int
}

func (s *slow) Write(p []byte) (int, error) {
	time.Sleep(s.pause)
	s.pause = 0
	if s.err != nil {
		return 0, s.err
	}
	s.n += len(p)
	return len(p), nil
}

// Where a child of an ended program writes for ever, the end of the context is the end.
func TestAnEndlessChildIsLeft(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cause := errors.New("enough")
	seen := writer(func(p []byte) (int, error) { cancel(cause); return len(p), nil })
	err := host.Command{Args: []string{"sh", "-c", "yes & sleep 0.01"}, Stdout: seen, Grace: 50 * time.Millisecond}.Run(ctx)
	if err != cause {
		t.Errorf("got %v", err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
