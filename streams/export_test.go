package streams

// WithFault returns a tree in which each change is made only if fault has no error
// for it.
func WithFault(t Tree, fault func(op, name string) error) Tree {
	t.fault = fault
	return t
}
