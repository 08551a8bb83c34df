// Package serve is a small static web server for the tree of an image server: for
// trying it out and for small sites. What it adds to the files are the headers that make
// caches, resumed downloads and strict content policies work, and images in one piece for
// clients that import them by their address; of catalogs it knows no more than that takes.
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"imagebuilder/builtins/host"
	"imagebuilder/streams/site"
)

// DefaultAddress is where the server listens: this machine only.
const DefaultAddress = "127.0.0.1:8443"

// ServerOptions say what is served, and how. Only Root must be set, and StateDir unless
// there is a certificate or Plain is set.
type ServerOptions struct {
	Root     string        // directory to serve
	Address  string        // host and port to listen on; "": DefaultAddress
	CertFile string        // certificate and key in PEM; both or none
	KeyFile  string        //
	StateDir string        // where a certificate of our own is kept; made on first use
	Names    []string      // further names and addresses for that certificate
	Plain    bool          // http instead of https
	Links    bool          // follow symbolic links that stay inside Root; else they are not there
	Grace    time.Duration // for requests under way when the server ends; 0: 10 seconds
	Stall    time.Duration // in which a client must have taken some of an answer; 0: 30 seconds
	Log      *slog.Logger  // nil: nothing is logged
	Clock    host.Clock    // nil: the system's
}

// A Server serves a tree.
type Server struct {
	opts     ServerOptions
	files    *site.Files
	listener net.Listener
	cert     *tls.Certificate
	certFile string
	log      *slog.Logger
	imports  *imports
}

// Listen prepares a server and listens for connections, which are answered once it
// runs. A server that does not run must be closed.
func Listen(opts ServerOptions) (*Server, error) {
	s := &Server{opts: opts, log: opts.Log, imports: newImports()}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.opts.Address == "" {
		s.opts.Address = DefaultAddress
	}
	if s.opts.Grace == 0 {
		s.opts.Grace = 10 * time.Second
	}
	if s.opts.Stall == 0 {
		s.opts.Stall = defaultStall
	}
	if s.opts.Clock == nil {
		s.opts.Clock = host.SystemClock
	}
	if err := s.listen(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) listen() (err error) {
	s.files, err = site.Open(s.opts.Root, s.opts.Links)
	if err != nil {
		return err
	}
	if !s.opts.Plain {
		if err := s.certificate(); err != nil {
			return err
		}
	}
	s.listener, err = net.Listen("tcp", s.opts.Address)
	return err
}

// Close stops listening without having run.
func (s *Server) Close() error {
	var errs []error
	if s.listener != nil {
		errs = append(errs, s.listener.Close())
	}
	if s.files != nil {
		errs = append(errs, s.files.Close())
	}
	return errors.Join(errs...)
}

// Addr returns the address the server listens on.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// URL returns the address as clients name it.
func (s *Server) URL() string {
	if s.opts.Plain {
		return "http://" + s.Addr().String()
	}
	return "https://" + s.Addr().String()
}

// CertFile returns the path of the certificate, which clients have to trust if it is
// our own. It is empty if the server is a plain one.
func (s *Server) CertFile() string { return s.certFile }

// Run answers requests until ctx ends, gives those under way some time and returns
// nil.
func (s *Server) Run(ctx context.Context) error {
	defer s.files.Close()
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second, // a slow sender must not hold a connection for ever
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		HTTP2:             &http.HTTP2Config{WriteByteTimeout: s.opts.Stall},
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		// The context of the run is over; the requests get one of their own.
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Grace)
		defer cancel()
		err := server.Shutdown(grace)
		if errors.Is(err, context.DeadlineExceeded) {
			err = server.Close()
		}
		stopped <- err
	})
	s.log.Info("Serving", "root", s.opts.Root, "url", s.URL())
	err := s.serve(server)
	if !stop() {
		return <-stopped
	}
	return fmt.Errorf("cannot serve %s: %w", s.opts.Root, err)
}

func (s *Server) serve(server *http.Server) error {
	if s.opts.Plain {
		return server.Serve(s.listener)
	}
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*s.cert}, MinVersion: tls.VersionTLS12}
	return server.ServeTLS(s.listener, "", "")
}
