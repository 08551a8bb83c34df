package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"imagebuilder/builtins/build"
	"imagebuilder/builtins/fetch"
	"imagebuilder/builtins/host"
)

// What the doctor says of recipes. Plans know it all: which files and programs of the machine
// a build needs, and which servers it begins with.

// examineRecipes tells of the needs and the servers of recipes. Which tools need to be there
// it puts into needed: only those of recipes that were named, as by default there is one that
// nobody may want.
func examineRecipes(cmd *cobra.Command, recipe *recipeOptions, names []string, needed map[string]bool) ([]finding, error) {
	named, verdict := len(names) > 0, problem
	if !named {
		names, verdict = []string{"debian"}, missing
	}
	var found []finding
	var servers []string
	for _, name := range names {
		r, err := recipe.load(cmd, name, logOptions{})
		if err != nil {
			return nil, err
		}
		plan, err := r.Plan()
		if err != nil {
			return nil, err
		}
		for _, need := range plan.Needs() {
			if named {
				needed[need.Name] = true
			}
			if !isTool(need.Name) {
				found = append(found, examineNeed(need, name, verdict))
			}
		}
		if bringsKeys(plan.Steps) {
			found = append(found, finding{fine, "keys of " + name, "come with the recipe", ""})
		}
		servers = append(servers, serversOf(plan.Steps)...)
	}
	slices.SortFunc(found, func(a, b finding) int { return strings.Compare(a.What, b.What) })
	found = slices.CompactFunc(found, func(a, b finding) bool { return a.What == b.What })
	return append(found, examineServers(cmd.Context(), servers)...), nil
}

func isTool(name string) bool {
	return slices.ContainsFunc(host.Tools(), func(t host.Tool) bool { return t.Name == name })
}

// examineNeed tells of a program that few need, or of a file, such as a keyring.
func examineNeed(need build.Need, recipe, verdict string) finding {
	switch {
	case host.Installed(need.Name):
		return finding{fine, need.Name, "for " + recipe, ""}
	case need.Package == "":
		return finding{verdict, need.Name, "for " + recipe, ""}
	}
	return finding{verdict, need.Name, fmt.Sprintf("package %s, for %s", need.Package, recipe), need.Package}
}

// bringsKeys tells whether a step verifies what it downloads by keys that are in the recipe.
func bringsKeys(steps []build.PlannedStep) bool {
	return slices.ContainsFunc(steps, func(s build.PlannedStep) bool {
		return slices.ContainsFunc(s.Args, func(a build.Arg) bool { return strings.HasSuffix(a.Name, "keys") && len(texts(a.Value)) > 0 })
	})
}

// serversOf returns for each server that steps read the first address there that is known
// before a build, which has no names that a page is asked for.
func serversOf(steps []build.PlannedStep) []string {
	var addresses []string
	seen := make(map[string]bool)
	for _, step := range steps {
		for _, arg := range step.Args {
			if !slices.Contains([]string{"url", "urls", "fresh"}, arg.Name) {
				continue
			}
			for _, text := range texts(arg.Value) {
				if i := strings.IndexByte(text, '<'); i >= 0 { // an assumed name
					text = text[:strings.LastIndexByte(text[:i], '/')+1]
				}
				u, err := url.Parse(text)
				if err != nil || u.Scheme != "http" && u.Scheme != "https" || seen[u.Host] {
					continue
				}
				seen[u.Host] = true
				addresses = append(addresses, text)
			}
		}
	}
	return addresses
}

// texts are the strings of an argument.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []string:
		return v
	case []any:
		var all []string
		for _, one := range v {
			all = append(all, texts(one)...)
		}
		return all
	}
	return nil
}

// patience is how long a server has to answer the doctor.
const patience = 5 * time.Second

// examineServers asks all of them at once.
func examineServers(ctx context.Context, addresses []string) []finding {
	slices.Sort(addresses)
	addresses = slices.Compact(addresses)
	found := make([]finding, len(addresses))
	var group sync.WaitGroup
	for i, address := range addresses {
		group.Go(func() {
			status, err := fetch.Reach(ctx, address, patience)
			switch {
			case err != nil:
				found[i] = finding{warning, address, "does not answer: " + err.Error(), ""}
			case strings.HasPrefix(status, "4") || strings.HasPrefix(status, "5"):
				found[i] = finding{warning, address, "answers " + status, ""}
			default:
				found[i] = finding{fine, address, "answers", ""}
			}
		})
	}
	group.Wait()
	return found
}
