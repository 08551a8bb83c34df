package serve

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Names of the files of our own certificate in the state directory.
const (
	certName = "cert.pem"
	keyName  = "key.pem"
)

// lifetime is how long our own certificate is good: whoever trusts it by hand does
// not want to do so again soon.
const lifetime = 10 * 365 * 24 * time.Hour

// certificate loads the certificate that was given, or our own.
func (s *Server) certificate() error {
	cert, key := s.opts.CertFile, s.opts.KeyFile
	switch {
	case (cert == "") != (key == ""):
		return errors.New("a certificate needs its key, and a key its certificate")
	case cert == "" && s.opts.StateDir == "":
		return errors.New("there is neither a certificate nor a directory to keep one in")
	case cert == "":
		cert, key = filepath.Join(s.opts.StateDir, certName), filepath.Join(s.opts.StateDir, keyName)
		if err := s.ensure(cert, key); err != nil {
			return fmt.Errorf("cannot make a certificate: %w", err)
		}
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("cannot load the certificate: %w", err)
	}
	s.cert, s.certFile = &pair, cert
	s.checkCertificate(s.opts.CertFile == "")
	return nil
}

// checkCertificate says what clients are going to refuse the certificate for. An own one is not
// made anew for it: that is for whoever has to trust it.
func (s *Server) checkCertificate(own bool) {
	what, next := "Certificate ", "clients refuse it"
	if own {
		what, next = "Own certificate ", "clients refuse it; another is made when it is removed"
	}
	for _, name := range s.asked() {
		if s.cert.Leaf.VerifyHostname(name) != nil {
			s.log.Warn(what+"does not name what is to be served, "+next, "name", name, "file", s.certFile)
		}
	}
	if end := s.cert.Leaf.NotAfter; s.opts.Clock().After(end) {
		s.log.Warn(what+"has expired, "+next, "at", end.UTC().Format(time.RFC3339), "file", s.certFile)
	}
}

// asked returns the names and addresses that the server has been asked to serve.
func (s *Server) asked() []string {
	names := slices.Clone(s.opts.Names)
	host, _, err := net.SplitHostPort(s.opts.Address)
	if ip := net.ParseIP(host); err == nil && host != "" && (ip == nil || !ip.IsUnspecified()) {
		names = append(names, host)
	}
	return names
}

// ensure makes a certificate of our own unless there is one. The certificate is
// written last: where it is, there is a key.
func (s *Server) ensure(cert, key string) error {
	if _, err := os.Stat(cert); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(s.opts.StateDir, 0o700); err != nil {
		return err
	}
	certPEM, keyPEM, err := s.selfSigned()
	if err != nil {
		return err
	}
	if err := write(key, keyPEM, 0o600); err != nil {
		return err
	}
	return write(cert, certPEM, 0o644)
}

// write puts a file in place as a whole, with exactly the mode.
func write(name string, data []byte, mode fs.FileMode) error {
	temp, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)) // with mode 0600
	if err != nil {
		return err
	}
	_, err = temp.Write(data)
	err = errors.Join(err, temp.Chmod(mode), temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}

// selfSigned makes a certificate for this machine. It is no authority: trusting it
// is trusting this server and nothing else.
func (s *Server) selfSigned() (certPEM, keyPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	now := s.opts.Clock()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "imagebuilder stream server"},
		NotBefore:             now.Add(-time.Hour), // clocks of clients differ
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, name := range s.names() {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), nil
}

// names returns the names and addresses under which this machine may be known.
func (s *Server) names() []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil {
		names = append(names, name)
	}
	return append(names, s.asked()...)
}
