package streams

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// What runs report: counts, as one line for people and as fields for machines, and the trouble
// that a run survived as an error for those who are strict.

// A BuildSummary counts what a build found and did.
type BuildSummary struct {
	Streams    int
	Products   int      // that are listed
	Versions   int      // that are listed
	Added      int      // versions that were not listed before
	Dropped    int      // versions that were listed and are not any more
	Incomplete int      // versions that are not finished
	Rejected   int      // versions that contradict their SHA256SUMS
	Failed     int      // versions, directories and files that cannot be read or understood
	Duplicates int      // images that are published under another name already
	Skipped    int      // names that do not count: odd characters, symbolic links
	Read       int64    // bytes that had to be read
	Deltas     int      // that were made
	Undelta    int      // deltas that are not worth having
	DeltaFails int      // deltas that should be there and could not be made
	Published  []string // paths of the files that are new, from the root
	Unchanged  bool     // nothing had changed since the last build

	unclean bool // something was wrong that is not remembered
}

// Err returns what went wrong that the run itself survived, nil if nothing did.
func (s *BuildSummary) Err() error {
	return tallies{
		{s.Rejected, "version", "rejected"}, {s.Failed, "path", "not read"}, {s.DeltaFails, "delta", "not made"},
	}.err()
}

// String returns the summary as one line for people.
func (s *BuildSummary) String() string {
	done := tallies{
		{s.Added, "version", "added"}, {s.Dropped, "version", "dropped"}, {s.Deltas, "delta", "made"},
		{s.Incomplete, "version", "incomplete"}, {s.Duplicates, "image", "published elsewhere"}, {s.Skipped, "name", "left out"},
	}.String()
	if done == "" {
		done = "nothing new"
	}
	return fmt.Sprintf("%s, %s listed; %s; %s", plural(s.Products, "product"), plural(s.Versions, "version"), done, outcomeOf(s.Err()))
}

// LogValue returns the counts with names, for records that machines read.
func (s *BuildSummary) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Int("products", s.Products), slog.Int("versions", s.Versions), slog.Int("added", s.Added), slog.Int("dropped", s.Dropped),
		slog.Int("incomplete", s.Incomplete), slog.Int("rejected", s.Rejected), slog.Int("failed", s.Failed),
		slog.Int("duplicates", s.Duplicates), slog.Int("skipped", s.Skipped), slog.Int("deltas", s.Deltas),
		slog.Int("deltasNotWorth", s.Undelta), slog.Int("deltasFailed", s.DeltaFails), slog.Int64("bytesRead", s.Read),
		slog.Int("published", len(s.Published)),
	)
}

// add adds the counts of a part of the work.
func (s *BuildSummary) add(part *BuildSummary) {
	s.Added += part.Added
	s.Incomplete += part.Incomplete
	s.Rejected += part.Rejected
	s.Failed += part.Failed
	s.Read += part.Read
	s.Deltas += part.Deltas
	s.Undelta += part.Undelta
	s.DeltaFails += part.DeltaFails
	s.unclean = s.unclean || part.unclean
}

// A PruneSummary counts what a prune did.
type PruneSummary struct {
	Dropped   int      // versions that have left the catalogs
	Vanished  int      // versions that were listed and not there any more
	Removed   int      // versions whose files are removed
	Deltas    int      // delta files that are removed
	Dangling  int      // products and versions that are removed because no catalog knew them
	Empty     int      // empty directories that are removed
	Waiting   int      // paths that wait for their grace period to end
	Failed    int      // what could not be read or removed
	Published []string // paths of the files that are new, from the root
}

// Err returns what went wrong that the run itself survived, nil if nothing did.
func (s *PruneSummary) Err() error {
	return tallies{{s.Failed, "path", "not read or removed"}}.err()
}

// String returns the summary as one line for people.
func (s *PruneSummary) String() string {
	done := tallies{
		{s.Dropped, "version", "dropped"}, {s.Vanished, "version", "vanished"}, {s.Removed, "version", "removed"},
		{s.Deltas, "delta", "removed"}, {s.Dangling, "dangling path", "removed"}, {s.Empty, "empty directory", "removed"},
		{s.Waiting, "path", "waiting to be removed"},
	}.String()
	if done == "" {
		done = "nothing to do"
	}
	return done + "; " + outcomeOf(s.Err())
}

// LogValue returns the counts with names, for records that machines read.
func (s *PruneSummary) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Int("dropped", s.Dropped), slog.Int("vanished", s.Vanished), slog.Int("removed", s.Removed), slog.Int("deltas", s.Deltas),
		slog.Int("dangling", s.Dangling), slog.Int("empty", s.Empty), slog.Int("waiting", s.Waiting), slog.Int("failed", s.Failed),
		slog.Int("published", len(s.Published)),
	)
}

// A tally is to how many of something something happened.
type tally struct {
	n          int
	what, done string
}

type tallies []tally

// String lists the counts that are not zero.
func (c tallies) String() string {
	var parts []string
	for _, one := range c {
		if one.n > 0 {
			parts = append(parts, plural(one.n, one.what)+" "+one.done)
		}
	}
	return strings.Join(parts, ", ")
}

func (c tallies) err() error {
	if text := c.String(); text != "" {
		return errors.New(text)
	}
	return nil
}

func plural(n int, what string) string {
	switch {
	case n == 1:
	case strings.HasSuffix(what, "y"):
		what = strings.TrimSuffix(what, "y") + "ies"
	default:
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// outcomeOf says that all is well, or what is not.
func outcomeOf(err error) string {
	if err == nil {
		return "no trouble"
	}
	return "trouble: " + err.Error()
}
