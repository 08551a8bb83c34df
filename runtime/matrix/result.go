package matrix

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/runtime"
)

// What becomes of a cell, in a file that its run leaves.

// ResultFile is the name of that file in the directory of a cell, and LogFile what the run says.
const (
	ResultFile = "result.json"
	LogFile    = "log"
)

// What can be said of a cell.
const (
	OK          = "ok"
	Failed      = "failed"
	Interrupted = "interrupted"
	Running     = "running" // or its process was killed, or its machine
	NotStarted  = "not started"
)

// A Result is what became of a run.
type Result struct {
	ID      string         `json:"id"`
	Status  string         `json:"status"`
	Host    string         `json:"host,omitempty"`
	Started time.Time      `json:"started,omitzero"`
	Took    float64        `json:"took"` // seconds
	Steps   int            `json:"steps"`
	Found   int            `json:"found"`  // steps that were in the cache, or in a shared store
	Pulled  int            `json:"pulled"` // layers and results that came from a shared store for them
	Built   int            `json:"built"`  // steps that were done
	Bytes   int64          `json:"bytes"`  // of the results
	Results []build.Result `json:"results,omitempty"`
	Error   string         `json:"error,omitempty"` // one line
}

// Begun is the result of a run that has just begun.
func Begun(dir string) Result {
	host, _ := os.Hostname() // "" is no harm
	return Result{ID: filepath.Base(filepath.Clean(dir)), Status: Running, Host: host, Started: time.Now().UTC().Truncate(time.Second)}
}

// End is what a run has come to. interrupted tells whether an error is that of a signal.
func (r *Result) End(run runtime.Run, err error, interrupted bool) {
	r.Took = time.Since(r.Started).Seconds()
	r.Steps, r.Results = len(run.Steps), run.Results
	for _, step := range run.Steps {
		switch {
		case step.Cached:
			r.Found++
		case !step.Failed:
			r.Built++
		}
	}
	r.Pulled = run.Taken
	for _, result := range run.Results {
		r.Bytes += result.Size
	}
	switch {
	case err == nil:
		r.Status = OK
	case interrupted:
		r.Status = Interrupted
	default:
		r.Status = Failed
	}
	if err != nil {
		r.Error, _, _ = strings.Cut(err.Error(), "\n")
	}
}

// Write writes a result into a file, whose directory is made.
func (r Result) Write(name string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("cannot write the result: %w", err)
	}
	dir, err := dirfd.Open(filepath.Dir(name), dirfd.Refuse)
	if err != nil {
		return fmt.Errorf("cannot write the result: %w", err)
	}
	defer dir.Close()
	return dir.Replace(filepath.Base(name), 0o644, func(w *bufio.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	})
}

// ReadResult reads what the run of a cell has left; of none it says so.
func ReadResult(out, id string) (Result, error) {
	name := filepath.Join(out, id, ResultFile)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Result{ID: id, Status: NotStarted}, nil
	}
	var r Result
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		return r, fmt.Errorf("cannot read %s: %w", name, err)
	}
	r.ID = id
	return r, nil
}

// ReadResults reads those of all cells below a directory, in the order of their names.
func ReadResults(out string) ([]Result, error) {
	files, err := filepath.Glob(filepath.Join(out, "*", ResultFile))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	var list []Result
	for _, file := range files {
		r, err := ReadResult(out, filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}
