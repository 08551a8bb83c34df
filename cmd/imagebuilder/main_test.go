package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/host"
	"imagebuilder/builtins/sandbox"
)

func TestMain(m *testing.M) {
	if code, ok := sandbox.Main(build.Tasks()...); ok {
		os.Exit(code)
	}
	if _, err := host.AtDoor(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	testscript.Main(m, map[string]func(){
		"imagebuilder":            main,
		"lxd-imagebuilder":        main,
		"distrobuilder":           main,
		"simplestream-maintainer": main,
	})
}

// TestScript runs the scenarios of testdata/script. Each finds the recipes of
// testdata/recipes beside its own files.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "../../testdata/script",
		Setup: setup,
		Condition: func(cond string) (bool, error) {
			switch {
			case cond == "root": // or one who builds as if they were
				return os.Geteuid() == 0 || os.Getenv(asUser) != "", nil
			case cond == "rootless":
				return host.TryDoor() == nil, nil
			case cond == "unshare": // not in a chroot, whose root is no mount
				return exec.Command("unshare", "--mount", "true").Run() == nil, nil
			case strings.HasPrefix(cond, "file:"):
				_, err := os.Stat(strings.TrimPrefix(cond, "file:"))
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"efidisk":   efiDisk,
			"image":     makeImage,
			"interrupt": interrupt,
			"jsonlog":   jsonLog,
			"keys":      keysCommand,
			"lines":     lines,
			"registry":  registryCommand,
			"resize":    resizeCommand,
			"screen":    screenCommand,
			"serve":     serveDir,
			"terminal":  terminalCommand,
			"waitfor":   waitFor,
		},
	})
}

// serversKey is where a scenario keeps its servers, by their directories.
type serversKey struct{}

// setup gives a scenario a cache of its own and the shared recipes.
func setup(env *testscript.Env) error {
	env.Values[terminalKey{}] = new(int)
	env.Values[serversKey{}] = make(map[string]*httptest.Server)
	testdata, err := filepath.Abs("../../testdata")
	if err != nil {
		return err
	}
	env.Setenv("TESTDATA", testdata)
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, ".cache"))
	env.Setenv("IMAGEBUILDER_CACHE", filepath.Join(env.WorkDir, "cache"))
	files, err := filepath.Glob("../../testdata/recipes/*.star")
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(env.WorkDir, filepath.Base(file)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// serve DIR serves a directory over http and puts the address into $URL. What is asked
// for is written to DIR.log, one path a line. With !, the server goes away.
func serveDir(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: serve DIR")
	}
	dir := ts.MkAbs(args[0])
	servers := ts.Value(serversKey{}).(map[string]*httptest.Server)
	if neg {
		servers[dir].Close()
		return
	}
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		log, err := os.OpenFile(dir+".log", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err == nil {
			fmt.Fprintln(log, r.URL.Path)
			log.Close()
		}
		// By their times alone two states of a file within a second are one.
		if st, err := os.Stat(filepath.Join(dir, path.Clean("/"+r.URL.Path))); err == nil && st.Mode().IsRegular() {
			w.Header().Set("ETag", fmt.Sprintf(`"%d-%d"`, st.ModTime().UnixNano(), st.Size()))
		}
		http.FileServer(http.Dir(dir)).ServeHTTP(w, r)
	}))
	servers[dir] = server
	ts.Defer(server.Close)
	ts.Setenv("URL", server.URL)
}

// registry starts a registry that has nothing, and puts its HOST:PORT into $REGISTRY. With !, it
// goes away. With a trouble, the one that runs has this from now on.
func registryCommand(ts *testscript.TestScript, neg bool, args []string) {
	servers := ts.Value(serversKey{}).(map[string]*httptest.Server)
	switch {
	case len(args) == 1 && !neg && registryTroubles[args[0]] != nil:
		servers["registry"].Config.Handler.(*troubledRegistry).trouble.Store(args[0])
		return
	case len(args) != 0:
		ts.Fatalf("usage: registry [%s]", strings.Join(slices.Sorted(maps.Keys(registryTroubles)), "|"))
	case neg:
		servers["registry"].CloseClientConnections() // in the middle of whatever
		servers["registry"].Config.Handler.(*troubledRegistry).goAway()
		servers["registry"].Close()
		return
	}
	handler := &troubledRegistry{sound: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	var gone context.Context
	gone, handler.goAway = context.WithCancel(context.Background())
	server := httptest.NewUnstartedServer(handler)
	server.Config.BaseContext = func(net.Listener) context.Context { return gone }
	server.Start()
	servers["registry"] = server
	ts.Defer(func() {
		handler.goAway() // who is slow sees not always that nobody waits any more
		server.Close()
	})
	ts.Setenv("REGISTRY", strings.TrimPrefix(server.URL, "http://"))
}

// A troubledRegistry is a registry with something wrong with it, or nothing.
type troubledRegistry struct {
	sound   http.Handler
	trouble atomic.Value // string, one of registryTroubles
	goAway  func()       // ends all that is being answered
}

// registryTroubles answer a request, or tell that the registry itself may.
var registryTroubles = map[string]func(http.ResponseWriter, *http.Request) bool{
	"full": func(w http.ResponseWriter, r *http.Request) bool {
		return takesNothing(w, r, http.StatusInsufficientStorage)
	},
	"read-only": func(w http.ResponseWriter, r *http.Request) bool {
		return takesNothing(w, r, http.StatusMethodNotAllowed)
	},
	"slow": func(w http.ResponseWriter, r *http.Request) bool { // a byte now and then
		for r.Context().Err() == nil {
			io.WriteString(w, " ")
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
		return true
	},
}

func takesNothing(w http.ResponseWriter, r *http.Request, status int) bool {
	takes := r.Method == http.MethodGet || r.Method == http.MethodHead
	if !takes {
		w.WriteHeader(status)
	}
	return !takes
}

// ServeHTTP implements [http.Handler].
func (s *troubledRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	trouble, _ := s.trouble.Load().(string)
	if answer := registryTroubles[trouble]; answer == nil || !answer(w, r) {
		s.sound.ServeHTTP(w, r)
	}
}

// waitfor FILE waits until a file exists.
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: waitfor FILE")
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(ts.MkAbs(args[0])); err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("waited too long for %s", args[0])
		}
	}
}

// interrupt SIGNAL FILE COMMAND... starts a command, waits until FILE exists, sends the
// signal and prints how the command ended and what it said. With !, the command does not
// mind.
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "HUP": syscall.SIGHUP}
	if len(args) < 3 || signals[args[0]] == 0 {
		ts.Fatalf("usage: interrupt INT|TERM|KILL|HUP FILE COMMAND...")
	}
	path, err := exec.LookPath(args[2])
	ts.Check(err)
	var out bytes.Buffer
	cmd := exec.Command(path, args[3:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "IMAGEBUILDER_CACHE="+ts.Getenv("IMAGEBUILDER_CACHE"))
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Minute // for what is left of it, and holds its output open
	// Who has run the tests may ignore the signal, and so would the command: a program that
	// is started by one which handles it does not.
	handled := make(chan os.Signal, 1)
	signal.Notify(handled, signals[args[0]])
	defer signal.Stop(handled)
	ts.Check(cmd.Start())
	waitFor(ts, false, args[1:2])
	ts.Check(cmd.Process.Signal(signals[args[0]]))
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) == neg {
		ts.Fatalf("unexpected end: %v\n%s", err, &out)
	}
	fmt.Fprintf(ts.Stdout(), "%v\n%s", err, &out)
}

// lines FILE N checks that a file has N lines.
func lines(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: lines FILE N")
	}
	if n := fmt.Sprint(strings.Count(ts.ReadFile(args[0]), "\n")); (n == args[1]) == neg {
		ts.Fatalf("%s has %s lines", args[0], n)
	}
}
