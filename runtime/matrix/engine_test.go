package matrix

import (
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"imagebuilder/builtins/host"
)

// twoGroups is a matrix with texts that mean something to engines.
var twoGroups = Job{
	Description: "All images.\nEvery night.", Directory: "out dir", Image: "registry.example/imagebuilder",
	Publish: []string{"imagebuilder", "matrix", "publish", "all.star", "out dir"},
	Cells: []Cell{
		{ID: "a", Command: []string{"imagebuilder", "run", "a", "-o", "x=it's $HOME ${{ github.token }} #: \"no\""}, Needs: Needs{Architecture: "x86_64"}, Group: "a"},
		{ID: "publish", Command: []string{"imagebuilder", "run", "b"}, Needs: Needs{Architecture: "riscv64"}, Group: "publish"},
		{ID: "a-cloud", Command: []string{"imagebuilder", "run", "a", "-o", "variant=cloud"}, Needs: Needs{Architecture: "x86_64"}, Group: "a", After: "a"},
	},
}

// written is a job as an engine reads it.
func written(t *testing.T, engine string) string { return writtenAs(t, twoGroups, engine) }

func writtenAs(t *testing.T, j Job, engine string) string {
	t.Helper()
	var b strings.Builder
	if err := j.Write(&b, engine); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Where cells give their results to a shared store, services keep none of them.
func TestPublishRemote(t *testing.T) {
	j := twoGroups
	j.PublishRemote = append(slices.Clone(j.Publish), "--remote=registry.example/layers")
	for _, engine := range []string{"github", "gitlab"} {
		text := writtenAs(t, j, engine)
		var any map[string]yaml.Node
		if err := yaml.Unmarshal([]byte(text), &any); err != nil {
			t.Errorf("%s: %v", engine, err)
		}
		if strings.Contains(text, "-artifact@") || strings.Contains(text, "paths:") || !strings.Contains(text, host.Quote(j.PublishRemote)) {
			t.Errorf("%s:\n%s", engine, text)
		}
	}
	for _, engine := range []string{"make", "slurm"} { // whose machines share the directory
		if got, want := writtenAs(t, j, engine), written(t, engine); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", engine, got, want)
		}
	}
}

func TestGitHub(t *testing.T) {
	type step struct{ Run, Uses string }
	var workflow struct {
		Jobs map[string]struct {
			Needs    []string
			If       string
			Strategy struct {
				Matrix struct {
					Include []struct{ ID, Architecture, Command string }
				}
			}
			Steps []step
		}
	}
	if err := yaml.Unmarshal([]byte(written(t, "github")), &workflow); err != nil {
		t.Fatal(err)
	}
	leaders, rest := workflow.Jobs["leaders"], workflow.Jobs["rest"]
	first := strings.ReplaceAll(leaders.Strategy.Matrix.Include[0].Command, "${{ '${{' }}", "${{")
	if len(leaders.Strategy.Matrix.Include) != 2 || first != host.Quote(twoGroups.Cells[0].Command) || strings.Contains(leaders.Strategy.Matrix.Include[0].Command, "${{ github") {
		t.Errorf("leaders are %+v", leaders.Strategy.Matrix.Include)
	}
	if got := rest.Strategy.Matrix.Include; len(got) != 1 || got[0].ID != "a-cloud" || rest.If != "always()" || !slices.Equal(rest.Needs, []string{"leaders"}) {
		t.Errorf("the rest is %+v", rest)
	}
	publish := workflow.Jobs["publish"]
	if last := publish.Steps[len(publish.Steps)-1].Run; last != host.Quote(twoGroups.Publish) || publish.If != "always()" {
		t.Errorf("the publisher is %+v", publish)
	}
}

func TestGitLab(t *testing.T) {
	var pipeline map[string]yaml.Node
	if err := yaml.Unmarshal([]byte(written(t, "gitlab")), &pipeline); err != nil {
		t.Fatal(err)
	}
	if want := []string{"cell-a", "cell-a-cloud", "cell-publish", "image", "publish", "stages"}; !slices.Equal(slices.Sorted(maps.Keys(pipeline)), want) {
		t.Errorf("got %q, want %q", slices.Sorted(maps.Keys(pipeline)), want)
	}
	type job struct {
		Script       []string
		Needs        []struct{ Job string }
		Tags         []string
		AllowFailure bool `yaml:"allow_failure"`
	}
	var first, follower job
	for name, to := range map[string]*job{"cell-a": &first, "cell-a-cloud": &follower} {
		node := pipeline[name]
		if err := node.Decode(to); err != nil {
			t.Fatal(err)
		}
	}
	if first.Script[0] != host.Quote(twoGroups.Cells[0].Command) || !first.AllowFailure || len(first.Needs) != 0 {
		t.Errorf("the leader is %+v", first)
	}
	if len(follower.Needs) != 1 || follower.Needs[0].Job != "cell-a" || !slices.Equal(follower.Tags, []string{"x86_64"}) {
		t.Errorf("the follower is %+v", follower)
	}
}

func TestKubernetes(t *testing.T) {
	dec := yaml.NewDecoder(strings.NewReader(written(t, "kubernetes")))
	type jobs struct {
		APIVersion, Kind string
		Metadata         struct{ Name string }
		Spec             struct {
			CompletionMode string `yaml:"completionMode"`
			Completions    int
			Template       struct {
				Spec struct {
					RestartPolicy string            `yaml:"restartPolicy"`
					NodeSelector  map[string]string `yaml:"nodeSelector"`
					Containers    []struct {
						Image   string
						Command []string
					}
				}
			}
		}
	}
	var names, machines []string
	for {
		var j jobs
		err := dec.Decode(&j)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, j.Metadata.Name)
		machines = append(machines, j.Spec.Template.Spec.NodeSelector["kubernetes.io/arch"])
		if c := j.Spec.Template.Spec.Containers[0]; j.Spec.CompletionMode != "Indexed" || j.Spec.Completions != 1 || c.Image != twoGroups.Image || len(c.Command) != 3 {
			t.Errorf("a job is %+v", j)
		}
	}
	if want := []string{"imagebuilder-leaders-0", "imagebuilder-leaders-1", "imagebuilder-rest-0", "imagebuilder-publish"}; !slices.Equal(names, want) {
		t.Errorf("the jobs are %q, want %q", names, want)
	}
	if want := []string{"riscv64", "amd64", "amd64", ""}; !slices.Equal(machines, want) {
		t.Errorf("the jobs are for %q, want %q", machines, want)
	}
}

func TestSlurm(t *testing.T) {
	script := written(t, "slurm")
	for _, want := range []string{
		"--constraint=x86_64 --array=0-0 <<'END'",
		"--constraint=riscv64 --array=0-0 <<'END'",
		"--constraint=x86_64 --array=0-0 --dependency=afterany:${job2}_0 <<'END'", // job1 is for riscv64
		"--dependency=afterany:$job1:$job2:$job3 <<'END'",
		`*) echo "there is no cell $SLURM_ARRAY_TASK_ID" >&2; exit 2 ;;`,
		"exec " + host.Quote(twoGroups.Publish),
		"exec " + host.Quote(twoGroups.Cells[0].Command) + " >'out dir/a'/log 2>&1",
	} {
		if !strings.Contains(script, want) {
			t.Errorf("it does not say %s:\n%s", want, script)
		}
	}
}

func TestUnknownEngine(t *testing.T) {
	err := Job{}.Write(io.Discard, "nomad")
	if want := `"nomad" is none of github, gitlab, json, kubernetes, make, slurm`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
