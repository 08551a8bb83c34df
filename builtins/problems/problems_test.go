package problems_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"imagebuilder/builtins/problems"
)

func TestJoin(t *testing.T) {
	a, b, again := errors.New("a"), fmt.Errorf("b: %w", fs.ErrNotExist), errors.New("a")
	tests := []struct {
		summary string
		errs    []error
		text    string
	}{
		{"nothing", nil, ""},
		{"nothing but nil", []error{nil, nil}, ""},
		{"one stays itself", []error{nil, a}, "a"},
		{"several are lines", []error{a, b}, "a\nb: file does not exist"},
		{"the same is said once", []error{a, b, again}, "a\nb: file does not exist"},
		{"what was joined is joined further", []error{problems.Join(a, b), errors.New("c"), again}, "a\nb: file does not exist\nc"},
	}
	for _, test := range tests {
		t.Run(test.summary, func(t *testing.T) {
			err := problems.Join(test.errs...)
			if err == nil {
				if test.text != "" {
					t.Errorf("got nothing, want %q", test.text)
				}
				return
			}
			if err.Error() != test.text {
				t.Errorf("got %q, want %q", err, test.text)
			}
		})
	}
	if !errors.Is(problems.Join(a, b), fs.ErrNotExist) {
		t.Error("the cause is not found")
	}
	if got := len(problems.List(problems.Join(a, b))); got != 2 {
		t.Errorf("%d problems", got)
	}
}

func TestWithout(t *testing.T) {
	a, b := errors.New("a"), errors.New("b")
	tests := []struct {
		summary    string
		err, known error
		want       error
	}{
		{"nothing", nil, a, nil},
		{"nothing is known", a, nil, a},
		{"all is known", problems.Join(a, b), problems.Join(errors.New("b"), errors.New("a")), nil},
		{"one is", problems.Join(a, b), errors.New("a"), b},
	}
	for _, test := range tests {
		if got := problems.Without(test.err, test.known); got != test.want {
			t.Errorf("%s: got %v", test.summary, got)
		}
	}
}
