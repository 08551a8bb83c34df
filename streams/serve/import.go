package serve

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"

	"imagebuilder/streams"
	"imagebuilder/streams/catalog"
	"imagebuilder/streams/inventory"
)

// An import is how a client takes an image from an address instead of a remote. It asks for the
// address by HEAD, says which architectures it has, and is told the hash of an image and the
// address of that. The image must be a unified one, so its parts are made into one on the way.
// See "Import an image from a remote web server" in the documentation of LXD.

// importHeaders begin the names of what the clients say and are told.
var importHeaders = []string{"LXD", "Incus"}

// An imports is what is known of the images as clients import them.
type imports struct {
	mu      sync.Mutex
	streams map[string]streamImages // by path of the catalog
	sums    map[string]unifiedSum   // by the tag of the parts
	making  chan struct{}           // has room for one that reads a whole image
}

// streamImages are the products of a catalog as long as it is the same file.
type streamImages struct {
	etag     string
	products []*catalog.Product
}

func newImports() *imports {
	return &imports{streams: map[string]streamImages{}, sums: map[string]unifiedSum{}, making: make(chan struct{}, 1)}
}

// serveImport answers with where the image of an alias is. It tells whether the name ends in an
// alias; what stands before it does not matter.
func (s *Server) serveImport(w http.ResponseWriter, r *http.Request, name string) bool {
	found, err := s.findAlias(name)
	if err != nil {
		s.log.Warn("Catalogs cannot be read", "error", err)
	}
	if len(found) == 0 {
		return false
	}
	h := w.Header()
	h.Set("Cache-Control", cacheShort)
	for _, client := range importHeaders {
		h.Add("Vary", client+"-Server-Architectures")
	}
	file, sum, err := s.choose(r, found)
	if err != nil {
		http.Error(w, fmt.Sprintf("cannot import %s: %v", name, err), http.StatusNotFound)
		return true
	}
	address := url.URL{Scheme: "https", Host: r.Host, Path: "/" + file}
	if r.TLS == nil {
		address.Scheme = "http"
	}
	for _, client := range importHeaders {
		h.Set(client+"-Image-Hash", sum.sum.String())
		h.Set(client+"-Image-URL", address.String())
	}
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if r.Method == http.MethodGet {
		fmt.Fprintln(w, address.String())
	}
	return true
}

// findAlias returns the products of the longest end of a path that is an alias, perhaps with
// the architecture behind it.
func (s *Server) findAlias(name string) (found []located, err error) {
	all, err := s.allProducts()
	for alias := name; ; {
		for _, p := range all {
			if slices.ContainsFunc(strings.Split(p.Aliases, ","), func(own string) bool { return own == alias || own+"/"+p.Arch == alias }) {
				found = append(found, p)
			}
		}
		_, rest, more := strings.Cut(alias, "/")
		if len(found) > 0 || !more {
			return found, err
		}
		alias = rest
	}
}

// A located is a product with where it is.
type located struct {
	*catalog.Product
	place catalog.Location
}

// allProducts returns the products of all catalogs that the index lists.
func (s *Server) allProducts() ([]located, error) {
	c := inventory.Catalogs{Files: s.files, Version: streams.DefaultStreamVersion}
	index, err := c.Index()
	if err != nil {
		return nil, err
	}
	var all []located
	var errs []error
	for stream := range inventory.Sorted(index.Entries) {
		products, err := s.products(c, stream)
		errs = append(errs, err)
		for _, p := range products {
			all = append(all, located{p, p.Name().In(stream)})
		}
	}
	return all, errors.Join(errs...)
}

// products returns those of a catalog, which is read again when it has changed.
func (s *Server) products(c inventory.Catalogs, stream string) ([]*catalog.Product, error) {
	if err := catalog.CheckStream(stream); err != nil {
		return nil, err
	}
	name := c.Path(stream)
	f, st, err := s.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s.imports.mu.Lock()
	defer s.imports.mu.Unlock()
	known := s.imports.streams[name]
	if tag := etag(st, ""); known.etag != tag {
		known = streamImages{etag: tag}
		err = inventory.ReadProducts(catalog.NewReader(f, stream), name, func(id string, p *catalog.Product) error {
			known.products = append(known.products, p)
			return nil
		}, nil)
		if err == nil {
			s.imports.streams[name] = known
		}
	}
	return known.products, err
}

// choose returns the file of the image that a client gets of the products that have its alias:
// of the first of its architectures, the newest version's, a container if there is one.
func (s *Server) choose(r *http.Request, found []located) (string, unifiedSum, error) {
	p, err := forArchitectures(found, clientHeader(r, "Server-Architectures"))
	if err != nil {
		return "", unifiedSum{}, err
	}
	kind := r.URL.Query().Get("type")
	if !slices.Contains([]string{"", "container", "vm", "virtual-machine"}, kind) {
		return "", unifiedSum{}, fmt.Errorf("the type %q is neither container nor virtual-machine", kind)
	}
	wrong := func(vm bool) bool { return kind != "" && (kind == "container") == vm }
	meta := catalog.LXDMeta
	if r.Header.Get("Incus-Server-Version")+r.Header.Get("Incus-Server-Architectures") != "" {
		meta = catalog.IncusMeta
	}
	names := p.VersionNames()
	slices.Reverse(names)
	err = errors.New("no version has such an image")
	for _, name := range names {
		version := p.Versions[name]
		var errs []error
		for _, image := range version.Images() {
			if version.Items[image.Meta].FType != meta || !catalog.Readable(name) || wrong(image.VM) {
				continue
			}
			dir := p.place.Of(name).Path()
			file := path.Join(dir, unifiedDir, version.Items[image.Meta].File(), version.Items[image.Root].File()+".tar")
			sum, err := s.sumOf(r.Context(), file)
			if err == nil {
				return file, sum, nil
			}
			s.log.Warn("Image cannot be unified", "path", path.Join(dir, version.Items[image.Root].File()), "error", err)
			errs = append(errs, err)
		}
		if len(errs) > 0 {
			return "", unifiedSum{}, errors.Join(errs...)
		}
	}
	return "", unifiedSum{}, err
}

// clientHeader returns the first header of this name, whichever client sets it.
func clientHeader(r *http.Request, name string) string {
	for _, client := range importHeaders {
		if value := r.Header.Get(client + "-" + name); value != "" {
			return value
		}
	}
	return ""
}

// forArchitectures returns the product for the first of the architectures of a client, which
// calls them as kernels do. One that names none can only get what there is but one of.
func forArchitectures(found []located, client string) (located, error) {
	var have []string
	for _, p := range found {
		if !slices.Contains(have, p.Arch) {
			have = append(have, p.Arch)
		}
	}
	if client == "" && len(have) == 1 {
		return found[0], nil
	}
	if client == "" {
		return located{}, fmt.Errorf("it is there for %s, and LXD-Server-Architectures does not say which; ALIAS/%s does", strings.Join(have, ", "), have[0])
	}
	for name := range strings.SplitSeq(client, ",") {
		name = strings.TrimSpace(name)
		for _, p := range found {
			if catalog.SameArchitecture(p.Arch, name) {
				return p, nil
			}
		}
	}
	return located{}, fmt.Errorf("it is there for %s, the client is for %s", strings.Join(have, ", "), client)
}
