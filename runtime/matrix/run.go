package matrix

import "context"

// Cells on one machine.

// A Runner runs cells, several side by side. A cell starts after its leader, whatever becomes of
// that: it finds what the leader has built.
type Runner struct {
	Jobs int // at least 1

	// Do runs a cell and returns what became of it. It is called by several goroutines.
	Do func(context.Context, Cell) Result
}

// Run runs all cells, and returns what became of each. What is wrong with one stops no other;
// the end of ctx does.
func (r Runner) Run(ctx context.Context, cells []Cell) []Result {
	results := make([]Result, len(cells))
	for i, c := range cells {
		results[i] = Result{ID: c.ID, Status: NotStarted}
	}
	ended := make(map[string]bool)
	started := make([]bool, len(cells))
	done := make(chan int)
	running := 0
	for {
		for ctx.Err() == nil && running < r.Jobs {
			i := next(cells, started, ended)
			if i < 0 {
				break
			}
			started[i] = true
			running++
			go func() {
				results[i] = r.Do(ctx, cells[i])
				done <- i
			}()
		}
		if running == 0 {
			return results
		}
		ended[cells[<-done].ID] = true
		running--
	}
}

// next is the cell to be started now, -1 if there is none: leaders come first, for others wait
// for them.
func next(cells []Cell, started []bool, ended map[string]bool) int {
	found := -1
	for i, c := range cells {
		switch {
		case started[i] || c.After != "" && !ended[c.After]:
		case c.After == "":
			return i
		case found < 0:
			found = i
		}
	}
	return found
}
