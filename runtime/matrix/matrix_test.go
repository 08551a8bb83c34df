package matrix

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"imagebuilder/runtime"
)

func TestExpand(t *testing.T) {
	axes := []runtime.Axis{{Name: "release", Values: []string{"1", "2"}}, {Name: "mirror", Values: []string{"http://a/b", ""}}}
	for _, test := range []struct {
		name string
		call []runtime.Cells
		want []string // ids; or the error
	}{
		{"product", []runtime.Cells{{Recipe: "dir/my.star", Axes: axes}}, []string{"my-1-http_a_b", "my-1-", "my-2-http_a_b", "my-2-"}},
		{"unless", []runtime.Cells{{Recipe: "my", Axes: axes, Unless: []map[string]string{{"release": "1", "mirror": ""}, {"release": "2"}}}}, []string{"my-1-http_a_b"}},
		{"no axis", []runtime.Cells{{Recipe: "my"}}, []string{"my"}},
		{"empty", []runtime.Cells{{Recipe: "my", Axes: []runtime.Axis{{Name: "release"}}}}, []string{"the matrix of my has no cells: an axis has no value, or all are left out"}},
		{"one place", []runtime.Cells{{Recipe: "my"}, {Recipe: "my.yaml"}}, []string{"two cells have the result place my: what tells them apart must be on an axis, such as a list of one value"}},
		{"hidden", []runtime.Cells{{Recipe: "../.my.star"}}, []string{"my"}},
	} {
		cells, err := Expand(test.call)
		var got []string
		for _, c := range cells {
			got = append(got, c.ID)
		}
		if err != nil {
			got = []string{err.Error()}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// However many run side by side, a cell starts after its leader, and each runs once.
func TestRunnerKeepsOrder(t *testing.T) {
	var cells []Cell
	for g := range 4 {
		for i := range 4 {
			c := Cell{ID: fmt.Sprint(g, "-", i)}
			if i > 0 {
				c.After = fmt.Sprint(g, "-", 0)
			}
			cells = append(cells, c)
		}
	}
	for jobs := 1; jobs <= 20; jobs++ {
		var mu sync.Mutex
		ended := make(map[string]bool)
		running, most := 0, 0
		results := Runner{Jobs: jobs, Do: func(_ context.Context, c Cell) Result {
			mu.Lock()
			running++
			most = max(most, running)
			if c.After != "" && !ended[c.After] {
				t.Errorf("%d jobs: %s was started before its leader had ended", jobs, c.ID)
			}
			mu.Unlock()
			mu.Lock()
			defer mu.Unlock()
			running--
			ended[c.ID] = true
			return Result{ID: c.ID, Status: Failed}
		}}.Run(context.Background(), cells)
		if len(results) != len(cells) || len(ended) != len(cells) || most > jobs {
			t.Errorf("%d jobs: %d results, %d cells ended, %d ran side by side", jobs, len(results), len(ended), most)
		}
	}
}

func TestRunnerEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	results := Runner{Jobs: 1, Do: func(_ context.Context, c Cell) Result {
		cancel()
		return Result{ID: c.ID, Status: Interrupted}
	}}.Run(ctx, []Cell{{ID: "a"}, {ID: "b"}})
	want := []Result{{ID: "a", Status: Interrupted}, {ID: "b", Status: NotStarted}}
	if !reflect.DeepEqual(results, want) {
		t.Errorf("got %+v, want %+v", results, want)
	}
}

func TestResultIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	r := Begun(dir + "/out/a")
	r.End(runtime.Run{Taken: 2}, fmt.Errorf("it broke\nin two"), false)
	if err := r.Write(dir + "/out/a/" + ResultFile); err != nil {
		t.Fatal(err)
	}
	got, err := ReadResults(dir + "/out")
	if err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], r) {
		t.Errorf("got %+v, %v, want %+v", got, err, r)
	}
	if r.Status != Failed || r.Error != "it broke" || r.ID != "a" || strings.Contains(r.Error, "\n") {
		t.Errorf("an error becomes %+v", r)
	}
}
