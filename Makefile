# make build   bin/imagebuilder
# make demo    a Debian image for LXD in out/, with all that is needed for it
# make test    every test this machine can run; those it cannot say why
# make test-all  those too that take an hour: virtual machines of every kind and release
# make lint    gofmt, go vet, staticcheck
# make bench   figures beside those of the same work done by hand
# make fuzz    every fuzz test for a while
# make install the binary, links for the names of the older tools, units, completion for shells, manual pages
# make deb     a Debian package of that in out/, linted where lintian is installed

GO ?= go
DESTDIR ?=
PREFIX ?= /usr/local
FUZZTIME ?= 30s
SHARE = $(DESTDIR)$(PREFIX)/share

.PHONY: build demo test test-all lint bench fuzz install deb

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o bin/imagebuilder ./cmd/imagebuilder

demo: build
	.ci/packages build
	bin/imagebuilder run debian out $$(.ci/mirrors)
	@echo
	@echo "Import it into LXD with:"
	@echo "  lxc image import out/lxd.tar.xz out/rootfs.squashfs --alias debian"

test: lint bin/gotest
	bin/gotest ./...

test-all: lint bin/gotest
	IMAGEBUILDER_TEST_ALL=1 bin/gotest ./...

# Not by "go run", which does not tell it when somebody ends the run.
bin/gotest: .ci/gotest/main.go
	$(GO) build -o $@ ./.ci/gotest

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
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/systemd/system streams/systemd/*
	install -d $(SHARE)/bash-completion/completions $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	bin/imagebuilder completion bash >$(SHARE)/bash-completion/completions/imagebuilder
	bin/imagebuilder completion zsh >$(SHARE)/zsh/site-functions/_imagebuilder
	bin/imagebuilder completion fish >$(SHARE)/fish/vendor_completions.d/imagebuilder.fish
	bin/imagebuilder doc --man $(SHARE)/man
	for name in lxd-imagebuilder distrobuilder simplestream-maintainer; do \
	    ln -sf imagebuilder $(DESTDIR)$(PREFIX)/bin/$$name && \
	    ln -sf imagebuilder.1 $(SHARE)/man/man1/$$name.1 || exit; \
	done

deb:
	.debian/build out
