package matrix

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"imagebuilder/builtins/host"
)

// Services that run jobs beside a repository, and clusters of containers. What is written is
// YAML, whose scalars are JSON, so that nothing in them means anything.

// scalar is a text as YAML has it, whatever is in it.
func scalar(text string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(text); err != nil {
		panic("internal error: " + err.Error()) // a text is always JSON
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// writeGitHub writes a workflow with two matrices, of leaders and of the rest.
func writeGitHub(w io.Writer, j Job) error {
	// An expression in a text of the workflow would be evaluated.
	plain := func(text string) string { return strings.ReplaceAll(text, "${{", "${{ '${{' }}") }
	literal := func(text string) string { return scalar(plain(text)) }
	var b strings.Builder
	b.WriteString(j.header("#", "A workflow for .github/workflows. Its runners have imagebuilder, and labels by architecture."))
	b.WriteString("name: images\non: [workflow_dispatch]\njobs:\n")
	stage := func(name, needs string, cells []Cell) {
		if len(cells) == 0 {
			return
		}
		fmt.Fprintf(&b, "  %s:\n%s", name, needs)
		b.WriteString("    strategy:\n      fail-fast: false\n      matrix:\n        include:\n")
		for _, c := range cells {
			fmt.Fprintf(&b, "          - id: %s\n            architecture: %s\n            command: %s\n", scalar(c.ID), literal(c.Needs.Architecture), literal(host.Quote(c.Command)))
		}
		b.WriteString("    runs-on: [self-hosted, \"${{ matrix.architecture }}\"]\n    steps:\n      - uses: actions/checkout@v4\n      - run: ${{ matrix.command }}\n")
		if j.PublishRemote != nil {
			return
		}
		fmt.Fprintf(&b, "      - if: always()\n        uses: actions/upload-artifact@v4\n        with:\n          name: ${{ matrix.id }}\n          path: %s\n", scalar(plain(j.Directory)+"/${{ matrix.id }}"))
	}
	leaders, rest := j.leaders(), j.followers()
	stage("leaders", "", leaders)
	needs := "[leaders]"
	stage("rest", "    needs: [leaders]\n    if: always()\n", rest)
	if len(rest) > 0 {
		needs = "[leaders, rest]"
	}
	fmt.Fprintf(&b, "  publish:\n    needs: %s\n    if: always()\n    runs-on: [self-hosted]\n    steps:\n      - uses: actions/checkout@v4\n", needs)
	publish := j.PublishRemote
	if publish == nil {
		publish = j.Publish
		fmt.Fprintf(&b, "      - uses: actions/download-artifact@v4\n        with:\n          path: %s\n", literal(j.Directory))
	}
	fmt.Fprintf(&b, "      - run: %s\n", literal(host.Quote(publish)))
	_, err := io.WriteString(w, b.String())
	return err
}

// writeGitLab writes a child pipeline. A job that is allowed to fail lets those begin that need it.
func writeGitLab(w io.Writer, j Job) error {
	var b strings.Builder
	b.WriteString(j.header("#", "A child pipeline. Its runners have imagebuilder, and tags by architecture."))
	b.WriteString("stages: [leaders, rest, publish]\n")
	if j.Image != "" {
		fmt.Fprintf(&b, "image: %s\n", scalar(j.Image))
	}
	publish := j.PublishRemote // nil: from artifacts
	for _, c := range j.Cells {
		stage, needs := "leaders", "[]"
		if c.After != "" {
			stage, needs = "rest", fmt.Sprintf("[{job: %s, artifacts: false}]", scalar(jobName(c.After)))
		}
		fmt.Fprintf(&b, "%s:\n  stage: %s\n  needs: %s\n  tags: [%s]\n  allow_failure: true\n  script:\n    - %s\n", scalar(jobName(c.ID)), stage, needs, scalar(c.Needs.Architecture), scalar(host.Quote(c.Command)))
		if publish != nil {
			continue
		}
		fmt.Fprintf(&b, "  artifacts:\n    when: always\n    paths: [%s]\n", scalar(filepath.Join(j.Directory, c.ID)))
	}
	if publish == nil {
		publish = j.Publish
	}
	fmt.Fprintf(&b, "publish:\n  stage: publish\n  when: always\n  script:\n    - %s\n", scalar(host.Quote(publish)))
	_, err := io.WriteString(w, b.String())
	return err
}

// kubernetesNames are the architectures that Kubernetes calls otherwise than the kernel.
var kubernetesNames = map[string]string{"x86_64": "amd64", "i686": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm"}

// writeKubernetes writes indexed Jobs. One does not wait for another there: they are applied in
// three stages. A cell that fails is not done again, one whose machine is lost is.
func writeKubernetes(w io.Writer, j Job) error {
	const wait = "kubectl wait --for=condition=complete --timeout=-1s job -l imagebuilder.stage="
	var b strings.Builder
	b.WriteString(j.header("#", "Apply it in stages; the claim imagebuilder is the directory that all share:",
		"  kubectl apply -f FILE -l imagebuilder.stage=leaders && "+wait+"leaders",
		"  kubectl apply -f FILE -l imagebuilder.stage=rest && "+wait+"rest",
		"  kubectl apply -f FILE -l imagebuilder.stage=publish"))
	job := func(name, stage, architecture, script string, n int) {
		fmt.Fprintf(&b, "---\napiVersion: batch/v1\nkind: Job\nmetadata:\n  name: %s\n  labels: {imagebuilder.stage: %s}\nspec:\n", scalar(name), stage)
		fmt.Fprintf(&b, "  completionMode: Indexed\n  completions: %d\n  parallelism: %d\n  backoffLimitPerIndex: 3\n  maxFailedIndexes: %d\n", n, n, n)
		fmt.Fprintf(&b, "  template:\n    metadata:\n      labels: {imagebuilder.stage: %s}\n    spec:\n      restartPolicy: Never\n", stage)
		if architecture != "" {
			if other, ok := kubernetesNames[architecture]; ok {
				architecture = other
			}
			fmt.Fprintf(&b, "      nodeSelector: {kubernetes.io/arch: %s}\n", scalar(architecture))
		}
		fmt.Fprintf(&b, "      containers:\n        - name: cell\n          image: %s\n          workingDir: /work\n          command: [sh, -c, %s]\n", scalar(j.Image), scalar(script))
		b.WriteString("          securityContext: {privileged: true}\n          volumeMounts: [{name: work, mountPath: /work}, {name: cache, mountPath: /var/cache/imagebuilder}]\n")
		b.WriteString("      volumes:\n        - name: work\n          persistentVolumeClaim: {claimName: imagebuilder}\n")
		b.WriteString("        - {name: cache, emptyDir: {}}\n") // what a container writes elsewhere is on an overlay, on which there is none
	}
	for _, stage := range []struct {
		name  string
		cells []Cell
	}{{"leaders", j.leaders()}, {"rest", j.followers()}} {
		for i, p := range pools(stage.cells, maxArray) {
			job(fmt.Sprintf("imagebuilder-%s-%d", stage.name, i), stage.name, p.architecture, j.choose("JOB_COMPLETION_INDEX", p.cells, "", " || true"), len(p.cells))
		}
	}
	job("imagebuilder-publish", "publish", "", host.Quote(j.Publish), 1)
	_, err := io.WriteString(w, b.String())
	return err
}
