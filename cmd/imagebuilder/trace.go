package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"path/filepath"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/dirfd"
	"imagebuilder/runtime"
)

// Where the time of a run went, in the format of Chrome's tracing, which chrome://tracing and
// ui.perfetto.dev show: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU

// A traceEvent is a complete event, of one step.
type traceEvent struct {
	Name      string  `json:"name"`
	Category  string  `json:"cat"`
	Phase     string  `json:"ph"`
	Timestamp float64 `json:"ts"`  // microseconds
	Duration  float64 `json:"dur"` // microseconds
	Process   int     `json:"pid"`
	Thread    int     `json:"tid"`

	Args build.Done `json:"args"`
}

// writeTrace writes the trace of a run into a file.
func writeTrace(name string, run runtime.Run) error {
	events := []traceEvent{}
	for _, step := range run.Steps {
		category := "built"
		if step.Cached {
			category = "cached"
		}
		events = append(events, traceEvent{
			Name: step.Step, Category: category, Phase: "X", Timestamp: step.Start * 1e6, Duration: step.Took * 1e6, Process: 1, Thread: 1, Args: step,
		})
	}
	dir, err := dirfd.Open(filepath.Dir(name), dirfd.Refuse)
	if err != nil {
		return fmt.Errorf("cannot write the trace: %w", err)
	}
	defer dir.Close()
	return dir.Replace(filepath.Base(name), 0o644, func(w *bufio.Writer) error {
		return json.NewEncoder(w).Encode(map[string]any{"traceEvents": events, "displayTimeUnit": "ms"})
	})
}
