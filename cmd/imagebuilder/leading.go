package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// Flags before the verb, which people write who think of them as flags of the tool.

// verbFirst moves flags that stand before a verb behind it, if they are flags of that. What
// makes no sense that way stays as it is, for cobra to complain about.
func verbFirst(root *cobra.Command, args []string) []string {
	if len(args) == 0 || !strings.HasPrefix(args[0], "-") {
		return args
	}
	for i := range args {
		cmd, _, err := root.Find(args[i:])
		if strings.HasPrefix(args[i], "-") || err != nil || cmd == root || !takes(cmd, args[:i]) {
			continue
		}
		words := strings.Fields(cmd.CommandPath())[1:]
		if i+len(words) > len(args) || !slices.Equal(words, args[i:i+len(words)]) { // an alias, or flags within
			continue
		}
		return slices.Concat(words, args[:i], args[i+len(words):])
	}
	return args
}

// takes tells whether a list of arguments is flags of a command, with their values.
func takes(cmd *cobra.Command, args []string) bool {
	for i := 0; i < len(args); i++ {
		name, _, valued := strings.Cut(strings.TrimLeft(args[i], "-"), "=")
		flag := cmd.Flags().Lookup(name)
		if !strings.HasPrefix(args[i], "--") && len(name) == 1 {
			flag = cmd.Flags().ShorthandLookup(name)
		}
		if flag == nil || !strings.HasPrefix(args[i], "-") {
			return false
		}
		if !valued && flag.NoOptDefVal == "" { // the next is its value
			i++
			if i == len(args) {
				return false
			}
		}
	}
	return true
}
