package serve

import (
	"io"
	"net/http"
	"time"
)

// A client that does not read must not hold a connection, and the file behind it, for ever.
// There is no limit for a whole answer, since large images go through slow lines: each piece
// of it has a time in which it must be gone.

// defaultStall is the time for a piece. Who needs longer takes less than two kilobytes a second.
const defaultStall = 30 * time.Second

// piece is how many bytes are sent at a time.
const piece = 64 << 10

// A paced is an answer that goes out in pieces.
type paced struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
}

func newPaced(w http.ResponseWriter, stall time.Duration) *paced {
	p := &paced{w, http.NewResponseController(w), stall}
	p.rest()
	return p
}

// hurry begins the time of a piece. Whatever is still in buffers when the answer is complete
// is the last one.
func (p *paced) hurry() { p.control.SetWriteDeadline(time.Now().Add(p.stall)) }

// rest ends it: what is to be sent may take its time to be made.
func (p *paced) rest() { p.control.SetWriteDeadline(time.Time{}) }

// Unwrap is for http.ResponseController.
func (p *paced) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p *paced) Write(b []byte) (sent int, err error) {
	for len(b) > 0 && err == nil {
		var n int
		p.hurry()
		n, err = p.ResponseWriter.Write(b[:min(len(b), piece)])
		sent, b = sent+n, b[n:]
	}
	p.rest()
	return sent, err
}

// ReadFrom sends a part of a file, which the kernel does where nothing stands between.
func (p *paced) ReadFrom(r io.Reader) (sent int64, err error) {
	part, ok := r.(*io.LimitedReader)
	if !ok {
		return io.Copy(struct{ io.Writer }{p}, r)
	}
	for part.N > 0 {
		p.hurry()
		n, err := io.Copy(p.ResponseWriter, &io.LimitedReader{R: part.R, N: min(part.N, piece)})
		part.N -= n
		sent += n
		if err != nil || n == 0 {
			return sent, err
		}
	}
	p.rest()
	return sent, nil
}
