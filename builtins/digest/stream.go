package digest

import "crypto/sha256"

// A Stream digests what is written to it by a goroutine of its own, so that where there is
// a second processor what is written is got meanwhile. Its buffers bound the memory. Sum
// must be called in every outcome: it ends the goroutine.
type Stream struct {
	full, free chan []byte
	sum        chan Digest
	buffer     []byte // that is filled
}

// Two buffers would do for two that are equally fast; reading is done in bursts.
const (
	streamBuffers = 4
	streamBuffer  = 256 << 10
)

// NewStream returns a digest of what is written from now on.
func NewStream() *Stream {
	s := &Stream{full: make(chan []byte, streamBuffers), free: make(chan []byte, streamBuffers), sum: make(chan Digest, 1)}
	for range streamBuffers {
		s.free <- make([]byte, 0, streamBuffer)
	}
	s.buffer = <-s.free
	go s.digest()
	return s
}

func (s *Stream) digest() {
	h := sha256.New()
	for b := range s.full {
		h.Write(b)
		s.free <- b[:0]
	}
	s.sum <- Of(h)
}

// Write never fails.
func (s *Stream) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		n := copy(s.buffer[len(s.buffer):cap(s.buffer)], p)
		s.buffer, p = s.buffer[:len(s.buffer)+n], p[n:]
		if len(s.buffer) == cap(s.buffer) {
			s.full <- s.buffer
			s.buffer = <-s.free
		}
	}
	return written, nil
}

// Sum returns the digest of all that was written, after which nothing may be.
func (s *Stream) Sum() Digest {
	s.full <- s.buffer
	close(s.full)
	return <-s.sum
}
