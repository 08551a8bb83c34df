package registry

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// How registries are asked: in whose name, and over what.

// The variables of older tools that name another registry than that of Docker for
// references without one, and who asks it.
const (
	baseVariable = "DOCKER_REGISTRY_BASE"
	userVariable = "DOCKER_REGISTRY_BASE_USER"
	passVariable = "DOCKER_REGISTRY_BASE_PASS"
)

// base is the registry for references that name none.
func base() string {
	host := os.Getenv(baseVariable)
	host = strings.TrimPrefix(strings.TrimPrefix(host, "https://"), "http://")
	host, _, _ = strings.Cut(host, "/")
	if host == "" || host == "registry-1.docker.io" {
		return name.DefaultRegistry
	}
	return host
}

// keychain gives the user's credentials, those of Docker's configuration and its helpers.
type keychain struct{}

func (keychain) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if user := os.Getenv(userVariable); user != "" && r.RegistryStr() == base() {
		return &authn.Basic{Username: user, Password: os.Getenv(passVariable)}, nil
	}
	return authn.DefaultKeychain.Resolve(r)
}

// A Client asks registries.
type Client struct {
	Transport http.RoundTripper // tries again what may work later; nil: the usual one, which does not
}

func (c Client) options(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx), remote.WithAuthFromKeychain(keychain{}), remote.WithTransport(c.transport()),
		remote.WithUserAgent(userAgent), remote.WithRetryBackoff(remote.Backoff{Steps: 1}),
	}
}

const userAgent = "imagebuilder"

func (c Client) transport() http.RoundTripper {
	if c.Transport == nil {
		return safe{http.DefaultTransport}
	}
	return safe{c.Transport}
}

// safe refuses to speak http to anybody but this machine, which the library would with a
// registry on a private network.
type safe struct{ http.RoundTripper }

func (s safe) RoundTrip(req *http.Request) (*http.Response, error) {
	host := req.URL.Hostname()
	ip := net.ParseIP(host)
	if req.URL.Scheme != "https" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("%s is asked by http, which anybody on the way can change", host)
	}
	return s.RoundTripper.RoundTrip(req)
}

// Blob is the URL of the blob of a layer.
func (q Query) Blob(l Layer) (string, error) {
	ref, err := q.reference()
	if err != nil {
		return "", err
	}
	repo := ref.Context()
	return fmt.Sprintf("%s://%s/v2/%s/blobs/%s", repo.Scheme(), repo.RegistryStr(), repo.RepositoryStr(), l.Digest), nil
}

// Blobs returns a transport that asks for the blobs of an image, as the user whose credentials
// there are. No other host than the registry gets these.
func (c Client) Blobs(q Query) (http.RoundTripper, error) {
	ref, err := q.reference()
	if err != nil {
		return nil, err
	}
	return &login{inner: c.transport(), repo: ref.Context()}, nil
}

// A login is a transport that introduces itself to a registry with its first request.
type login struct {
	inner http.RoundTripper
	repo  name.Repository

	mu   sync.Mutex
	done http.RoundTripper // nil: it has not yet
}

func (l *login) RoundTrip(req *http.Request) (*http.Response, error) {
	t, err := l.in(req.Context())
	if err != nil {
		return nil, err
	}
	return t.RoundTrip(req)
}

func (l *login) in(ctx context.Context) (http.RoundTripper, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done != nil {
		return l.done, nil
	}
	auth, err := authn.Resolve(ctx, keychain{}, l.repo)
	if err != nil {
		return nil, err
	}
	l.done, err = transport.NewWithContext(ctx, l.repo.Registry, auth, transport.NewUserAgent(l.inner, userAgent), []string{l.repo.Scope(transport.PullScope)})
	return l.done, err
}
