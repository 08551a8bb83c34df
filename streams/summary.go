package streams

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

// Trouble tells whether anything went wrong that the run itself survived.
func (s *BuildSummary) Trouble() bool { return s.Rejected+s.Failed+s.DeltaFails > 0 }

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

// attrs are the counts as they are logged.
func (s *BuildSummary) attrs() []any {
	return []any{
		"products", s.Products, "versions", s.Versions, "added", s.Added, "dropped", s.Dropped,
		"incomplete", s.Incomplete, "rejected", s.Rejected, "failed", s.Failed, "duplicates", s.Duplicates,
		"skipped", s.Skipped, "deltas", s.Deltas, "deltasNotWorth", s.Undelta, "deltasFailed", s.DeltaFails,
		"bytesRead", s.Read, "published", len(s.Published),
	}
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

// Trouble tells whether anything went wrong that the run itself survived.
func (s *PruneSummary) Trouble() bool { return s.Failed > 0 }

func (s *PruneSummary) attrs() []any {
	return []any{
		"dropped", s.Dropped, "vanished", s.Vanished, "removed", s.Removed, "deltas", s.Deltas, "dangling", s.Dangling,
		"empty", s.Empty, "waiting", s.Waiting, "failed", s.Failed, "published", len(s.Published),
	}
}
