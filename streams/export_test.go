package streams

// WithFault returns a tree in which each change is made only if fault has no error
// for it.
func WithFault(t Site, fault func(op, name string) error) Site {
	t.fault = fault
	return t
}
