package matrix

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"imagebuilder/builtins/host"
)

// maxArray is how many tasks an array of Slurm has, where nobody has set MaxArraySize.
const maxArray = 1000

// writeSlurm writes a script that submits jobs: the leaders of each architecture as an array, the
// rest of each group as one that starts after its leader has ended in whatever way, and the
// publisher after all.
func writeSlurm(w io.Writer, j Job) error {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n")
	b.WriteString(j.header("#", "Submit it with sh FILE, in the directory that the cells are to run in, which all nodes share.",
		"What sbatch takes from its environment, such as SBATCH_PARTITION, is for all jobs."))
	logs := filepath.Join(j.Directory, "slurm")
	fmt.Fprintf(&b, "set -eu\nmkdir -p %s\n", host.Quote([]string{logs}))
	submit := fmt.Sprintf("sbatch --parsable --requeue --open-mode=append --output=%s", host.Quote([]string{filepath.Join(logs, "%A_%a.log")}))
	n := 0
	array := func(p pool, after string) {
		n++
		fmt.Fprintf(&b, "\njob%d=$(%s --job-name=cells --constraint=%s --array=0-%d%s <<'END'\n#!/bin/sh\n%sEND\n)\n",
			n, submit, host.Quote([]string{p.architecture}), len(p.cells)-1, after, j.choose("SLURM_ARRAY_TASK_ID", p.cells, "exec ", ""))
	}
	tasks := make(map[string]string) // of leaders
	for _, p := range pools(j.leaders(), maxArray) {
		array(p, "")
		for i, c := range p.cells {
			tasks[c.ID] = fmt.Sprintf("${job%d}_%d", n, i)
		}
	}
	followers := j.followers()
	for _, leader := range j.leaders() {
		group := slices.DeleteFunc(slices.Clone(followers), func(c Cell) bool { return c.After != leader.ID })
		for _, p := range pools(group, maxArray) {
			array(p, " --dependency=afterany:"+tasks[leader.ID])
		}
	}
	fmt.Fprintf(&b, "\n%s --job-name=publish --dependency=afterany", submit)
	for i := range n {
		fmt.Fprintf(&b, ":$job%d", i+1)
	}
	fmt.Fprintf(&b, " <<'END'\n#!/bin/sh\nexec %s\nEND\n", host.Quote(j.Publish))
	_, err := io.WriteString(w, b.String())
	return err
}
