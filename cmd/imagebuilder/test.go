package main

import (
	"errors"
	"fmt"
	"regexp"
	goruntime "runtime"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"imagebuilder/runtime"
)

// The command that runs tests of recipes, and what it says of them.

type testOptions struct {
	run      runtime.TestOptions
	pattern  string
	junit    string // file
	json     bool
	parallel int
}

func newTestCommand() *cobra.Command {
	var o testOptions
	cmd := &cobra.Command{
		Use:   "test [FILE|DIR]...",
		Short: "Test recipes",
		Long: `Run the functions test_* of files, and of all files *_test.star below directories, the
current one if none is given. In a test, words plan instead of doing: nothing is downloaded
or changed, and it needs no root. A test fails if it ends in an error, which those of
assert are:

  load("my.star", "main")

  def test_packages():
      steps = plan(main, answers = {"read /etc/hostname": "old"})
      assert.contains(steps, "openssh-server")
      assert.golden(steps, "my.golden")

'imagebuilder doc plan eq golden' shows the words that tests have besides those of recipes.
The clock stands still in tests, the machine is x86_64, and programs are taken to be there,
so that a plan is the same on each machine.`,
		Example: `  imagebuilder test
  imagebuilder test my_test.star --run packages
  imagebuilder test --update
  imagebuilder test --junit report.xml`,
		Args: args(0, 100000),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.pattern != "" {
				re, err := regexp.Compile(o.pattern)
				if err != nil {
					return usageError{fmt.Errorf("--run: %w", err)}
				}
				o.run.Run = re
			}
			if o.parallel < 1 {
				return usageError{fmt.Errorf("--parallel %d: want at least 1", o.parallel)}
			}
			if len(args) == 0 {
				args = []string{"."}
			}
			files, err := starFiles(args, "_test.star")
			if err != nil {
				return usageError{err}
			}
			return o.report(cmd, runTests(cmd, files, o.run, o.parallel))
		},
		ValidArgsFunction: completeStar,
	}
	addOfflineFlag(cmd)
	cmd.Flags().StringVar(&o.pattern, "run", "", "run only tests whose names match `REGEXP`")
	cmd.Flags().StringVar(&o.junit, "junit", "", "write a report in the XML of JUnit to `FILE`")
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON")
	cmd.Flags().BoolVar(&o.run.Update, "update", false, "write golden files instead of comparing with them")
	cmd.Flags().IntVarP(&o.parallel, "parallel", "p", goruntime.GOMAXPROCS(0), "test `N` files side by side")
	return cmd
}

// report says what became of the tests, wherever that is wanted; a test that has failed is an error.
func (o testOptions) report(cmd *cobra.Command, report *testReport) error {
	write := report.write
	if o.json {
		write = report.writeJSON
	}
	err := write(cmd.OutOrStdout())
	if o.junit != "" {
		err = errors.Join(err, report.writeJUnit(o.junit))
	}
	switch cause := cmd.Context().Err(); {
	case cause != nil:
		return cause
	case err != nil:
		return err
	case report.Failed > 0:
		return fmt.Errorf("%d of %d tests failed", report.Failed, len(report.Tests))
	case len(report.Tests) == 0:
		return errors.New("there is no test: functions test_* are, of files *_test.star")
	}
	return nil
}

// runTests runs the tests of files, several of them side by side.
func runTests(cmd *cobra.Command, files []string, o runtime.TestOptions, parallel int) *testReport {
	start := time.Now()
	perFile := make([][]runtime.TestResult, len(files))
	var group errgroup.Group
	group.SetLimit(parallel)
	for i, file := range files {
		group.Go(func() error {
			own := o
			own.Config = runtime.TestConfig()
			own.Config.Log = logOptions{}.logger(cmd.ErrOrStderr())
			own.Config.Libraries = librariesOf(cmd)
			results, err := runtime.RunTests(cmd.Context(), file, own)
			if err != nil {
				results = []runtime.TestResult{{Err: err}}
			}
			perFile[i] = results
			return nil // what went wrong is in the results
		})
	}
	group.Wait()
	report := &testReport{Tests: []reportedTest{}}
	for i, results := range perFile {
		for _, r := range results {
			test := reportedTest{File: files[i], Name: r.Name, Took: r.Took.Seconds()}
			if r.Err != nil {
				test.Error, test.Trace = r.Err.Error(), runtime.Explain(r.Err)
				report.Failed++
			} else {
				report.Passed++
			}
			report.Tests = append(report.Tests, test)
		}
	}
	report.Took = time.Since(start).Seconds()
	return report
}
