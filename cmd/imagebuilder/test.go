package main

import (
	"bufio"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	goruntime "runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"imagebuilder/builtins/dirfd"
	"imagebuilder/runtime"
)

// The command that runs tests of recipes, and what it says of them.

func newTestCommand() *cobra.Command {
	var o runtime.TestOptions
	var pattern, junit string
	var asJSON bool
	var parallel int
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
			if pattern != "" {
				re, err := regexp.Compile(pattern)
				if err != nil {
					return usageError{fmt.Errorf("--run: %w", err)}
				}
				o.Run = re
			}
			if parallel < 1 {
				return usageError{fmt.Errorf("--parallel %d: want at least 1", parallel)}
			}
			if len(args) == 0 {
				args = []string{"."}
			}
			files, err := starFiles(args, "_test.star")
			if err != nil {
				return usageError{err}
			}
			report := runTests(cmd, files, o, parallel)
			if asJSON {
				err = report.writeJSON(cmd.OutOrStdout())
			} else {
				err = report.write(cmd.OutOrStdout())
			}
			if junit != "" {
				err = errors.Join(err, report.writeJUnit(junit))
			}
			if cause := cmd.Context().Err(); cause != nil {
				return cause
			}
			if err == nil && report.Failed > 0 {
				err = fmt.Errorf("%d of %d tests failed", report.Failed, len(report.Tests))
			}
			if err == nil && len(report.Tests) == 0 {
				err = errors.New("there is no test: functions test_* are, of files *_test.star")
			}
			return err
		},
		ValidArgsFunction: completeStar,
	}
	addOfflineFlag(cmd)
	cmd.Flags().StringVar(&pattern, "run", "", "run only tests whose names match `REGEXP`")
	cmd.Flags().StringVar(&junit, "junit", "", "write a report in the XML of JUnit to `FILE`")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&o.Update, "update", false, "write golden files instead of comparing with them")
	cmd.Flags().IntVarP(&parallel, "parallel", "p", goruntime.GOMAXPROCS(0), "test `N` files side by side")
	return cmd
}

// A testReport is what became of tests.
type testReport struct {
	Tests  []reportedTest `json:"tests"` // in the order of the command line, whatever ended first
	Passed int            `json:"passed"`
	Failed int            `json:"failed"`
	Took   float64        `json:"took"` // seconds
}

type reportedTest struct {
	File  string  `json:"file"`
	Name  string  `json:"name,omitempty"` // "": the file could not be loaded
	Took  float64 `json:"took"`           // seconds
	Error string  `json:"error,omitempty"`
	Trace string  `json:"trace,omitempty"` // the error with all places
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

func (r *testReport) write(w io.Writer) error {
	for _, test := range r.Tests {
		if test.Error != "" {
			trace := strings.ReplaceAll(strings.TrimSuffix(test.Trace, "\n"), "\n", "\n    ")
			fmt.Fprintf(w, "FAIL %s\n    %s\n", strings.TrimSpace(test.File+" "+test.Name), trace)
		}
	}
	_, err := fmt.Fprintf(w, "%d passed, %d failed in %.2f s\n", r.Passed, r.Failed, r.Took)
	return err
}

func (r *testReport) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

// The XML of JUnit, as far as those that read it agree on it: a suite for each file.
type (
	junitReport struct {
		XMLName  xml.Name      `xml:"testsuites"`
		Tests    int           `xml:"tests,attr"`
		Failures int           `xml:"failures,attr"`
		Time     string        `xml:"time,attr"`
		Suites   []*junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitFailure `xml:"failure"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

func (r *testReport) writeJUnit(file string) (err error) {
	report := junitReport{Tests: len(r.Tests), Failures: r.Failed, Time: junitTime(r.Took)}
	var suite *junitSuite
	for _, test := range r.Tests {
		if suite == nil || suite.Name != test.File {
			suite = &junitSuite{Name: test.File}
			report.Suites = append(report.Suites, suite)
		}
		suite.Tests++
		one := junitCase{Class: strings.TrimSuffix(test.File, ".star"), Name: test.Name, Time: junitTime(test.Took)}
		if test.Name == "" {
			one.Name = "load"
		}
		if test.Error != "" {
			suite.Failures++
			one.Failure = &junitFailure{test.Error, test.Trace}
		}
		suite.Cases = append(suite.Cases, one)
	}
	text, err := xml.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	dir, err := dirfd.Open(filepath.Dir(file), dirfd.Refuse)
	if err != nil {
		return fmt.Errorf("cannot write the report: %w", err)
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	return dir.Replace(filepath.Base(file), 0o644, func(w *bufio.Writer) error {
		_, err := fmt.Fprintf(w, "%s%s\n", xml.Header, text)
		return err
	})
}

func junitTime(s float64) string { return fmt.Sprintf("%.3f", s) }
