package unpack_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"

	"imagebuilder/builtins/unpack"
)

func TestStream(t *testing.T) {
	text := strings.Repeat("what is in it\n", 1<<14) // more than a pipe holds
	for _, program := range []string{"cat", "bzip2", "gzip", "lzip", "lzop", "xz", "zstd"} {
		t.Run(program, func(t *testing.T) {
			packer, err := exec.LookPath(program)
			if err != nil {
				t.Skipf("needs %s", program)
			}
			cmd := exec.Command(packer)
			cmd.Stdin = strings.NewReader(text)
			packed, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			r, err := unpack.Stream(t.Context(), bytes.NewReader(packed))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil || string(got) != text {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			cause := errors.New("enough")
			cancel(cause)
			if r, err = unpack.Stream(ctx, bytes.NewReader(packed)); err == nil {
				_, err = io.ReadAll(r)
				r.Close()
			}
			if !errors.Is(err, cause) {
				t.Errorf("after the end of the context: %v", err)
			}
		})
	}
}
