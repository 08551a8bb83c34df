package compat

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/sandbox"
	"imagebuilder/runtime"
)

func TestMain(m *testing.M) {
	if code, ok := sandbox.Main(); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// planRecipe plans a recipe on a machine that has all programs.
func planRecipe(text string, place runtime.Place, options runtime.Given) (*build.Planner, error) {
	recipe, err := runtime.LoadText(context.Background(), "x.star", text, runtime.Config{
		Options: options,
		Now:     time.Unix(1700000000, 0).UTC(),
		Machine: "x86_64",
		Place:   place,
	})
	if err != nil {
		return nil, err
	}
	planner := &build.Planner{Has: func(string) bool { return true }}
	return planner, recipe.PlanOn(planner)
}

// steps prints what a plan does, one step a line, without where that is asked for.
func steps(t *testing.T, p *build.Planner) []string {
	t.Helper()
	var lines []string
	for _, s := range p.Steps {
		s.At = ""
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(text))
	}
	return lines
}

// typed is a definition with an entry in each phase for each list of types. The text of
// each is phase-types.
func typed() string {
	kinds := map[string]string{"none": "", "container": "container", "vm": "vm", "both": "container, vm"}
	var repositories, sets, actions, files, config, variables strings.Builder
	for name, types := range kinds {
		filter := "types: [" + types + "]"
		fmt.Fprintf(&repositories, "  - {name: repository-%s, url: x, %s}\n", name, filter)
		fmt.Fprintf(&sets, "  - {action: install, packages: [package-%s], %s}\n", name, filter)
		fmt.Fprintf(&sets, "  - {action: install, early: true, packages: [early-%s], %s}\n", name, filter)
		for _, trigger := range triggers {
			fmt.Fprintf(&actions, "- {trigger: %s, action: \"#!/bin/sh\\n%s-%s\", %s}\n", trigger, trigger, name, filter)
		}
		fmt.Fprintf(&files, "- {generator: dump, path: /file-%s, %s}\n", name, filter)
		fmt.Fprintf(&config, "    - {type: all, content: config-%s, %s}\n", name, filter)
		fmt.Fprintf(&variables, "  - {key: variable-%s, value: x, %s}\n", name, filter)
	}
	return "image: {distribution: debian, release: trixie}\nsource: {downloader: debootstrap}\n" +
		"packages:\n  manager: apt\n  update: true\n  repositories:\n" + repositories.String() + "  sets:\n" + sets.String() +
		"actions:\n" + actions.String() + "files:\n" + files.String() +
		"targets:\n  lxc:\n    config:\n" + config.String() + "environment:\n  variables:\n" + variables.String()
}

// What entries with types are for, by command and phase: those without types, with
// container, with vm, with both.
func TestTypes(t *testing.T) {
	doc := mustLoad(t, typed())
	type row struct{ phases, used string }
	before := "repository post-unpack package post-update post-packages"
	for _, command := range []struct {
		name string
		mode Mode
		set  runtime.Given
		rows []row
	}{
		{"build-dir", Mode{}, runtime.Given{"target": {"dir"}, "with_post_files": {"true"}}, []row{
			{before + " early file post-files", "Y---"}, {"variable", "YY-Y"}, {"config", "----"},
		}},
		{"build-dir without post-files", Mode{}, runtime.Given{"target": {"dir"}}, []row{
			{"post-files", "----"}, {"file", "Y---"},
		}},
		{"build-lxc", Mode{}, runtime.Given{"target": {"lxc"}}, []row{
			{before, "YY-Y"}, {"early", "Y---"}, {"file post-files config variable", "YY-Y"},
		}},
		{"build-lxd", Mode{}, runtime.Given{"target": {"lxd"}}, []row{
			{before, "YY-Y"}, {"early", "Y---"}, {"file post-files variable", "YY-Y"}, {"config", "----"},
		}},
		{"build-lxd --vm", Mode{}, runtime.Given{"target": {"vm"}}, []row{
			{before, "Y-YY"}, {"early", "Y---"}, {"file post-files variable", "Y-YY"},
		}},
		{"pack-lxc", Mode{Pack: true}, runtime.Given{"target": {"lxc"}}, []row{
			{before, "-Y-Y"}, {"early", "----"}, {"file post-files config variable", "YY-Y"},
		}},
		{"pack-lxd", Mode{Pack: true}, runtime.Given{"target": {"lxd"}}, []row{
			{before, "-Y-Y"}, {"early", "----"}, {"file post-files variable", "YY-Y"},
		}},
		{"pack-lxd --vm", Mode{Pack: true}, runtime.Given{"target": {"vm"}}, []row{
			{before, "--YY"}, {"early", "----"}, {"file post-files variable", "Y-YY"},
		}},
	} {
		planner, err := planRecipe(doc.translate(command.mode).Text, nil, command.set)
		if err != nil {
			t.Fatal(err)
		}
		base, rest := "", ""
		for i, s := range planner.Steps {
			if line := steps(t, planner)[i]; s.Builtin == "host_run" {
				base += line
			} else {
				rest += line
			}
		}
		for _, row := range command.rows {
			for phase := range strings.FieldsSeq(row.phases) {
				where := rest
				if phase == "early" {
					where = base
				}
				if got := usedIn(where, phase); got != row.used {
					t.Errorf("%s: %s: got %s, want %s", command.name, phase, got, row.used)
				}
			}
		}
		// What is typed and early is not early, but there where its type is.
		if want := usedIn(rest, "package"); usedIn(rest, "early")[1:] != want[1:] {
			t.Errorf("%s: early sets that are not early: got %s, want %s", command.name, usedIn(rest, "early"), want)
		}
	}
}

func usedIn(text, phase string) string {
	used := ""
	for _, kind := range []string{"none", "container", "vm", "both"} {
		if strings.Contains(text, phase+"-"+kind) {
			used += "Y"
		} else {
			used += "-"
		}
	}
	return used
}

// Releases, architectures by the distribution's own names, and variants restrict every
// kind of entry.
func TestFilters(t *testing.T) {
	for _, test := range []struct {
		filter string
		used   bool
	}{
		{"releases: [trixie]", true},
		{"releases: [sid, trixie]", true},
		{"releases: [Trixie]", false},
		{"releases: [trix*]", false},
		{"releases: []", true},
		{"architectures: [amd64]", true},
		{"architectures: [x86_64]", false},
		{"variants: [default]", true},
		{"variants: [cloud]", false},
		{"releases: [trixie], architectures: [amd64], variants: [default], types: [container, container]", true},
		{"releases: [trixie], architectures: [amd64], variants: [cloud]", false},
	} {
		text := strings.NewReplacer("types: []", test.filter, "trixie}", "trixie}\nmappings: {architecture_map: debian}").Replace(typed())
		planner, err := planRecipe(mustLoad(t, text).translate(Mode{}).Text, nil, runtime.Given{"target": {"lxc"}})
		if err != nil {
			t.Fatal(err)
		}
		all := strings.Join(steps(t, planner), "\n")
		for _, phase := range strings.Fields("repository package early post-unpack post-update post-packages post-files file config variable") {
			if got := strings.Contains(all, phase+"-none"); got != test.used {
				t.Errorf("%s: %s is used: %v, want %v", test.filter, phase, got, test.used)
			}
		}
	}
}
