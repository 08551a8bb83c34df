package streams_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"imagebuilder/streams"
	"imagebuilder/streams/imagetree"
	"imagebuilder/streams/page"
	"imagebuilder/streams/site"
)

// TestKill kills builds and prunes at random moments. After each kill, what is
// published must be right in all its parts.
func TestKill(t *testing.T) {
	rounds := 400
	if testing.Short() {
		rounds = 40
	}
	f := newFixture(t, versions(ubuntu, v1, v2)...)
	f.build(func(o *streams.BuildOptions) { o.Page = new(page.Setup); o.Clock = nil })
	random := rand.New(rand.NewPCG(1, 2))
	killed, typical := 0, 50*time.Millisecond // how long a run takes that is left alone
	day := time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC)
	for round := range rounds {
		verb := "build"
		switch random.IntN(4) {
		case 0:
			verb = "prune"
		default:
			day = day.Add(24 * time.Hour)
			f.make(imagetree.Sample{Product: ubuntu, Version: day.Format("20060102_1504"), Sums: round%2 == 0})
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "STREAMS_CRASH_ROOT="+f.root, "STREAMS_CRASH_VERB="+verb)
		var output bytes.Buffer
		cmd.Stderr = &output
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		timer := time.AfterFunc(time.Duration(random.Int64N(int64(typical))), func() { cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err != nil && cmd.ProcessState.ExitCode() >= 0 {
			t.Fatalf("round %d: %s: %v: %s", round, verb, err, &output)
		}
		if err != nil {
			killed++
		} else {
			typical = (3*typical + time.Since(start)) / 4
		}
		f.awaitLock()
		if err := errors.Join(checkClient(f.root), checkGzip(f.root)); err != nil {
			t.Fatalf("round %d: after %s was killed: %v", round, verb, err)
		}
		if f.verify(); t.Failed() {
			t.Fatalf("round %d: after %s was killed", round, verb)
		}
	}
	if killed < rounds/4 {
		t.Errorf("only %d of %d were killed before they ended", killed, rounds)
	}
	f.build(func(o *streams.BuildOptions) { o.Clock = nil })
	f.prune(retain(1), atOnce, func(o *streams.PruneOptions) { o.Dangling, o.Force = true, true })
	f.verify()
	if names := f.names("images/" + ubuntu); len(names) != 1 {
		t.Errorf("left over: %v", names)
	}
	for _, name := range f.names("images/" + ubuntu + "/" + f.listed()[0]) {
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".vcdiff") {
			t.Errorf("left over: %s", name)
		}
	}
}

// awaitLock waits until the lock is free: a program that the killed process was just
// about to start holds it for another moment.
func (f *fixture) awaitLock() {
	f.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		_, err := streams.Verify(context.Background(), streams.VerifyOptions{Site: f.tree()})
		if !errors.Is(err, site.ErrLocked) {
			return
		}
		if time.Now().After(deadline) {
			f.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}
