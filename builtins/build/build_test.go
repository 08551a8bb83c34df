package build

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// A question is a value in one place and is asked in another; that is all there is to one.
// The builder finds an answer once, the planner assumes it or knows.
func TestQuestion(t *testing.T) {
	found := 0
	question := func(certain bool) Question[int] {
		q := Question[int]{What: "noop", Find: func(context.Context, *Builder) (int, error) {
			found++
			return 42, nil
		}}
		if certain {
			q.Assume = func(*Planner) (int, bool) { return 42, true }
		}
		return q
	}
	ctx, builder := context.Background(), new(Builder)
	step := func(arg int) *Step { return &Step{Builtin: "noop", Args: Args{{"arg", arg}}} }
	for _, arg := range []int{1, 1, 2} {
		if got, err := Ask(ctx, builder, step(arg), question(false)); got != 42 || err != nil {
			t.Errorf("got %d, %v", got, err)
		}
	}
	if found != 2 {
		t.Errorf("looked %d times for two answers", found)
	}
	for _, test := range []struct {
		certain bool
		want    int
	}{{false, 0}, {true, 42}} {
		planner := new(Planner)
		if got, err := Ask(ctx, planner, step(1), question(test.certain)); got != test.want || err != nil {
			t.Errorf("planned: got %d, %v", got, err)
		}
		if planner.Assumed() == test.certain || len(planner.Answers) != 1 || len(planner.Steps) != 0 {
			t.Errorf("the plan has %+v", planner)
		}
	}
}

func TestClaims(t *testing.T) {
	full, empty := &Root{Name: "x", filled: true}, NewRoot("x", "", "", "")
	tests := []struct {
		summary string
		root    *Root
		claim   string
		err     string
	}{
		{"the first has the name", full, "rootfs.squashfs", ""},
		{"the second has not", full, "rootfs.squashfs", "rootfs.squashfs is packed already, at x.star:1; give one of them a directory by dir"},
		{"another directory is another name", full, "b/rootfs.squashfs", ""},
		{"what claims nothing is free", full, "", ""},
		{"nothing is made of nothing", empty, "c", "cannot pack the rootfs: it is empty; put files into it first"},
	}
	planner, builder := new(Planner), new(Builder)
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			s := &Step{Builtin: "pack", Label: "pack", At: "x.star:1", Root: test.root}
			p := Product{OfRoot: true, Claim: test.claim, Do: func(context.Context, *Builder) ([]*File, error) { return nil, nil }}
			for _, w := range []Worker{planner, builder} {
				if _, err := w.Make(context.Background(), s, p); fmt.Sprint(err) != test.err && (err != nil || test.err != "") {
					t.Errorf("%T: got %v, want %q", w, err, test.err)
				}
			}
		})
	}
}

// A plan takes note of any effect, without knowing it, and of what it needs.
func TestPlan(t *testing.T) {
	ctx, root := context.Background(), NewRoot("x", "lxd", "", "")
	planner := &Planner{Has: func(name string) bool { return name == "there" }}
	step := func(builtin string, needs ...Need) *Step {
		return &Step{Builtin: builtin, Label: builtin, At: builtin + ".star", Root: root, Needs: needs}
	}
	planner.Change(ctx, step("change", Need{Name: "there"}, Need{Name: "mksquashfs", At: "a"}), Change{})
	planner.Make(ctx, step("local", Need{Name: "/gone", At: "b"}), Product{Unshown: true})
	planner.Make(ctx, step("make", Need{Name: "/gone", Package: "pkg"}), Product{OfRoot: true}) // the same again
	planner.Make(ctx, step("hidden"), Product{Unshown: true})
	stuck := step("act")
	stuck.Ready = func(context.Context) error { return errors.New("it is stuck") }
	planner.Act(ctx, stuck, Act{})
	var builtins []string
	for _, s := range planner.Steps {
		builtins = append(builtins, s.Builtin)
	}
	if fmt.Sprint(builtins) != "[change make act]" {
		t.Errorf("planned %v", builtins)
	}
	want := []string{
		"act.star: it is stuck",
		"a: mksquashfs is not installed; the Debian package squashfs-tools brings it: apt-get install squashfs-tools",
		"b: /gone is not installed; the Debian package pkg brings it: apt-get install pkg",
	}
	if got := planner.Missing(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("missing:\n%v\nwant:\n%v", got, want)
	}
}
