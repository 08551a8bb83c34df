package main

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// What is said of tests of recipes: on a terminal, as JSON, and as the XML of JUnit.

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

func (r *testReport) writeJUnit(file string) error {
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
	if err := writeFile(file, fmt.Appendf(nil, "%s%s\n", xml.Header, text)); err != nil {
		return fmt.Errorf("cannot write the report: %w", err)
	}
	return nil
}

func junitTime(s float64) string { return fmt.Sprintf("%.3f", s) }
