package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"imagebuilder/recipes"
	"imagebuilder/runtime"
)

// What a shell completes besides commands and flags: recipes, their options, and the values
// that these and flags can have.

// completeRecipe completes the name of a recipe, or the path of a file; what comes after the
// recipe is a directory.
func completeRecipe(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return completeRecipes(cmd, args, begun)
}

// completeRecipes is completeRecipe for a command that takes several.
func completeRecipes(_ *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, name := range recipes.Names() {
		if strings.HasPrefix(name, begun) {
			names = append(names, name)
		}
	}
	return names, cobra.ShellCompDirectiveDefault
}

// completeDefinition completes the path of a definition; what comes after it are directories.
func completeDefinition(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return completeDefinitions(cmd, args, begun)
}

// completeDefinitions is completeDefinition for a command that takes several.
func completeDefinitions(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// completeDirectory makes a flag be completed by a directory.
func completeDirectory(cmd *cobra.Command, flag string) {
	if err := cmd.MarkFlagDirname(flag); err != nil {
		panic("internal error: " + err.Error())
	}
}

// completeOption completes name=value for the recipe that the command line names: the name of
// an option, then one of its values.
func completeOption(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	const more = cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	if len(args) == 0 {
		return nil, more
	}
	if cmd.Context() == nil { // which cobra gives to commands that run
		cmd.SetContext(context.Background())
	}
	recipe, err := (&recipeOptions{}).load(cmd, args[0], logOptions{})
	if err != nil {
		return nil, more
	}
	name, value, named := strings.Cut(begun, "=")
	var found []string
	for _, o := range recipe.Options() {
		switch {
		case !named && strings.HasPrefix(o.Name, begun):
			found = append(found, o.Name+"=\t"+firstLine(o.Help))
		case named && o.Name == name:
			return valuesOf(o, value), cobra.ShellCompDirectiveNoFileComp
		}
	}
	return found, more
}

// valuesOf completes a value of an option.
func valuesOf(o runtime.Option, begun string) []string {
	var found []string
	for _, value := range append(o.OtherValues(), o.DefaultText()) {
		if text := o.Name + "=" + value; strings.HasPrefix(value, begun) && !slices.Contains(found, text) {
			found = append(found, text)
		}
	}
	return found
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// completeValues makes a flag be completed by one of some values.
func completeValues(cmd *cobra.Command, flag string, values []string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic("internal error: " + err.Error())
	}
}
