package pack

import (
	"context"

	"imagebuilder/builtins/dirfd"
)

// PublishIn is Publish into an open directory, whose changes can fail.
func PublishIn(ctx context.Context, dir *dirfd.Dir, set []Result) error {
	_, err := publish(ctx, dir, set)
	return err
}
