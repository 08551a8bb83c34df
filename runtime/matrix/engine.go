package matrix

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"imagebuilder/builtins/host"
)

// A matrix as jobs of engines. None of them has anything that the contract has not: the command
// lines, and after which other each is to start.

// A Job is a matrix for an engine: the contract, as JSON.
type Job struct {
	Description string   `json:"description,omitempty"`
	Cells       []Cell   `json:"cells"`
	Publish     []string `json:"publish"` // the command line after all cells, whatever became of them
	Directory   string   `json:"directory"`

	// PublishRemote is Publish where machines have nothing but a shared store in common, to which the
	// cells give their results; nil: they do not.
	PublishRemote []string `json:"publish_remote,omitempty"`

	Image string `json:"-"` // of containers, for engines that use some
}

// engines write a job as each engine takes it.
var engines = map[string]func(io.Writer, Job) error{
	"github":     writeGitHub,
	"gitlab":     writeGitLab,
	"json":       writeJSON,
	"kubernetes": writeKubernetes,
	"make":       writeMake,
	"slurm":      writeSlurm,
}

// Engines are the names of those that Write knows.
func Engines() []string { return slices.Sorted(maps.Keys(engines)) }

// Write writes a job as an engine takes it.
func (j Job) Write(w io.Writer, engine string) error {
	write, ok := engines[engine]
	if !ok {
		return fmt.Errorf("%q is none of %s", engine, strings.Join(Engines(), ", "))
	}
	return write(w, j)
}

func writeJSON(w io.Writer, j Job) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(j)
}

// header is what comments at the top of what is made say.
func (j Job) header(comment string, lines ...string) string {
	var b strings.Builder
	for line := range strings.Lines(j.Description) {
		fmt.Fprintf(&b, "%s %s\n", comment, strings.TrimSpace(line))
	}
	for _, line := range lines {
		fmt.Fprintf(&b, "%s %s\n", comment, line)
	}
	return b.String()
}

// leaders are the cells that start at once, and followers those that start after one of them.
func (j Job) leaders() []Cell { return j.with(func(c Cell) bool { return c.After == "" }) }

func (j Job) followers() []Cell { return j.with(func(c Cell) bool { return c.After != "" }) }

func (j Job) with(is func(Cell) bool) []Cell {
	return slices.DeleteFunc(slices.Clone(j.Cells), func(c Cell) bool { return !is(c) })
}

// logged is the command line of a cell for a shell, with its log where a run of the matrix on one
// machine would have it.
func (j Job) logged(c Cell, begin string) string {
	dir := host.Quote([]string{filepath.Join(j.Directory, c.ID)})
	return fmt.Sprintf("mkdir -p %s && %s%s >%s/%s 2>&1", dir, begin, host.Quote(c.Command), dir, LogFile)
}

// jobName is what engines call a cell whose own words could mean something to them.
func jobName(id string) string { return "cell-" + id }

// A pool is cells that machines of one kind can do.
type pool struct {
	architecture string
	cells        []Cell
}

// pools are cells by their architecture, at most so many together.
func pools(cells []Cell, most int) (list []pool) {
	of := make(map[string][]Cell)
	for _, c := range cells {
		of[c.Needs.Architecture] = append(of[c.Needs.Architecture], c)
	}
	for _, architecture := range slices.Sorted(maps.Keys(of)) {
		for part := range slices.Chunk(of[architecture], most) {
			list = append(list, pool{architecture, part})
		}
	}
	return list
}

// choose is a script that does one of several cells, by a variable of the engine. begin and end are
// what comes before and after each command line.
func (j Job) choose(variable string, cells []Cell, begin, end string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "case $%s in\n", variable)
	for i, c := range cells {
		fmt.Fprintf(&b, "%d) %s%s ;;\n", i, j.logged(c, begin), end)
	}
	fmt.Fprintf(&b, "*) echo \"there is no cell $%s\" >&2; exit 2 ;;\n", variable)
	return b.String() + "esac\n"
}

// writeMake writes a Makefile. Cells that fail stop nothing: the publisher tells of them.
func writeMake(w io.Writer, j Job) error {
	quote := func(text string) string { return strings.ReplaceAll(text, "$", "$$") }
	var b strings.Builder
	b.WriteString(j.header("#", "Build it with make -j8 -f FILE; what a cell says is in its directory."))
	b.WriteString("publish:")
	for _, c := range j.Cells {
		b.WriteString(" \\\n    " + jobName(c.ID))
	}
	fmt.Fprintf(&b, "\n\t%s\n\n.PHONY: publish\n", quote(host.Quote(j.Publish)))
	for _, c := range j.Cells {
		fmt.Fprintf(&b, "\n.PHONY: %s\n%s:", jobName(c.ID), jobName(c.ID))
		if c.After != "" {
			b.WriteString(" " + jobName(c.After))
		}
		fmt.Fprintf(&b, "\n\t-%s\n", quote(j.logged(c, "")))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
