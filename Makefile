# make build   bin/imagebuilder
# make demo    a Debian image for LXD in out/, with all that is needed for it
# make test    every test this machine can run; those it cannot say why
# make test-all  those too that take an hour: virtual machines of every kind and release
# make lint    gofmt, go vet, staticcheck
# make bench   figures beside those of the same work done by hand
# make fuzz    every fuzz test for a while
# make install the binary, and links for the names of the older tools

GO ?= go
DESTDIR ?=
PREFIX ?= /usr/local
FUZZTIME ?= 30s

.PHONY: build demo test test-all lint bench fuzz install

build:
	$(GO) build -trimpath -o bin/imagebuilder ./cmd/imagebuilder

demo: build
	.ci/packages build
	bin/imagebuilder run debian out $$(.ci/mirrors)
	@echo
	@echo "Import it into LXD with:"
	@echo "  lxc image import out/lxd.tar.xz out/rootfs.squashfs --alias debian"

test: lint
	$(GO) run ./.ci/gotest ./...

test-all: lint
	IMAGEBUILDER_TEST_ALL=1 $(GO) run ./.ci/gotest ./...

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "not formatted: run gofmt -w"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

bench: build
	testdata/bench/all

fuzz:
	.ci/fuzz $(FUZZTIME)

install: build
	install -D bin/imagebuilder $(DESTDIR)$(PREFIX)/bin/imagebuilder
	ln -sf imagebuilder $(DESTDIR)$(PREFIX)/bin/lxd-imagebuilder
	ln -sf imagebuilder $(DESTDIR)$(PREFIX)/bin/simplestream-maintainer
