package lxd

import (
	"os"
	"path/filepath"
	"strings"
)

// LXD and Incus, which came of it, take the same images by the same API. What differs is
// what they call things, which is all here.

// A Server is a program that images are made for and that has the API.
type Server string

// The servers, by the names that people know them by.
const (
	LXD   Server = "LXD"
	Incus Server = "Incus"
)

// Word is the name of the server in those of words, commands, options and files.
func (s Server) Word() string { return strings.ToLower(string(s)) }

// client is the program that people give it orders by.
func (s Server) client() string {
	if s == Incus {
		return "incus"
	}
	return "lxc"
}

// socketPath returns where the server listens on this machine: where LXD_SOCKET or
// LXD_DIR, or INCUS_SOCKET or INCUS_DIR, say, else at the first place there is, or would be.
func (s Server) socketPath(getenv func(string) string) string {
	variables := strings.ToUpper(string(s))
	if socket := getenv(variables + "_SOCKET"); socket != "" {
		return socket
	}
	const file = "unix.socket"
	if dir := getenv(variables + "_DIR"); dir != "" {
		return filepath.Join(dir, file)
	}
	first := "/var/snap/lxd/common/lxd" // of the snap
	if s == Incus {
		first = "/run/incus" // of newer versions
	}
	for _, dir := range []string{first, "/var/lib/" + s.Word()} {
		socket := filepath.Join(dir, file)
		if _, err := os.Stat(socket); err == nil {
			return socket
		}
	}
	return filepath.Join("/var/lib", s.Word(), file)
}
