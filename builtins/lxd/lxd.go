// Package lxd talks to the daemon of LXD or Incus on this machine, as far as handing it an
// image, and trying one, needs: see https://documentation.ubuntu.com/lxd/latest/rest-api/.
package lxd

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Daemon is reached through a UNIX socket.
type Daemon struct {
	server Server
	http   *http.Client
}

// Connect returns the daemon of a server on this machine once it has answered. The
// environment can say where it listens.
func Connect(ctx context.Context, server Server, getenv func(string) string) (*Daemon, error) {
	socket := server.socketPath(getenv)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	d := &Daemon{server, &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
	if err := d.call(ctx, http.MethodGet, "/1.0", "", nil, nil); err != nil {
		return nil, fmt.Errorf("cannot reach %s: %w", server, err)
	}
	return d, nil
}

// An Upload is the image that is handed over.
type Upload struct {
	Fingerprint string
	Files       []string // metadata and rootfs, or one unified archive
}

// Import gives the daemon an image, unless it has it, and the image an alias, unless
// that is empty. An alias of another image is an error; the image then stays.
func (d *Daemon) Import(ctx context.Context, img Upload, alias, description string) error {
	err := d.call(ctx, http.MethodGet, "/1.0/images/"+img.Fingerprint, "", nil, nil)
	if isNotFound(err) {
		err = d.upload(ctx, img)
	}
	if err != nil {
		return fmt.Errorf("cannot import the image into %s: %w", d.server, err)
	}
	if alias == "" {
		return nil
	}
	if err := d.setAlias(ctx, alias, description, img.Fingerprint); err != nil {
		return fmt.Errorf("cannot give the image the alias %s: %w", alias, err)
	}
	return nil
}

// upload sends the files and waits until the daemon has made an image of them.
func (d *Daemon) upload(ctx context.Context, img Upload) error {
	body, w := io.Pipe()
	defer body.Close()
	contentType := "application/octet-stream"
	if len(img.Files) == 1 {
		go func() { w.CloseWithError(copyFile(w, img.Files[0])) }()
	} else {
		form := multipart.NewWriter(w)
		contentType = form.FormDataContentType()
		go func() { w.CloseWithError(writeForm(form, img.Files)) }()
	}
	defer context.AfterFunc(ctx, func() { w.CloseWithError(context.Cause(ctx)) })() // what is not sent is not made
	return d.order(ctx, http.MethodPost, "/1.0/images", contentType, body)
}

// wait waits until an operation has ended, and returns what it has to say.
func (d *Daemon) wait(ctx context.Context, operation string, result any) error {
	var done struct {
		StatusCode int `json:"status_code"`
		Err        string
		Metadata   json.RawMessage
	}
	if err := d.call(ctx, http.MethodGet, "/1.0/operations/"+operation+"/wait", "", nil, &done); err != nil {
		return err
	}
	if done.StatusCode != http.StatusOK {
		return errors.New(done.Err)
	}
	if result == nil || done.Metadata == nil {
		return nil
	}
	return json.Unmarshal(done.Metadata, result)
}

// order makes a request that the daemon answers by an operation, and waits for its end. What
// was asked for is done, whoever still waits: when the context ends first, its end is waited
// for nevertheless, so that what has come of it can be removed.
func (d *Daemon) order(ctx context.Context, method, path, contentType string, body io.Reader) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	late, stop := outlasting(ctx)
	defer stop()
	var operation struct{ ID string }
	err := d.call(late, method, path, contentType, body, &operation)
	if err == nil {
		err = d.wait(late, operation.ID, nil)
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// outlasting returns a context that ends some time after the one it is made of.
func outlasting(ctx context.Context) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-late.Done():
		case <-time.After(CleanUp):
			cancel()
		}
	})
	return late, func() {
		stop()
		cancel()
	}
}

func writeForm(form *multipart.Writer, files []string) error {
	rootfs := "rootfs"
	if strings.HasSuffix(files[1], ".qcow2") {
		rootfs = "rootfs.img" // a virtual machine
	}
	for i, field := range []string{"metadata", rootfs} {
		part, err := form.CreateFormFile(field, filepath.Base(files[i]))
		if err != nil {
			return err
		}
		if err := copyFile(part, files[i]); err != nil {
			return err
		}
	}
	return form.Close()
}

// Fingerprint returns what servers call an image by: the SHA-256 of its files, one after the
// other, the metadata first.
func Fingerprint(files []string) (string, error) {
	h := sha256.New()
	for _, f := range files {
		if err := copyFile(h, f); err != nil {
			return "", fmt.Errorf("cannot make the fingerprint: %w", err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func copyFile(w io.Writer, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

func (d *Daemon) setAlias(ctx context.Context, alias, description, fingerprint string) error {
	var old struct{ Target string }
	err := d.call(ctx, http.MethodGet, "/1.0/images/aliases/"+url.PathEscape(alias), "", nil, &old)
	switch {
	case err == nil && old.Target == fingerprint:
		return nil
	case err == nil:
		return fmt.Errorf("it is that of the image %.12s; delete it with '%s image alias delete %s'", old.Target, d.server.client(), alias)
	case !isNotFound(err):
		return err
	}
	body := map[string]string{"name": alias, "description": description, "target": fingerprint}
	return d.send(ctx, http.MethodPost, "/1.0/images/aliases", body, nil)
}

// apiError is an answer of the daemon that says what is wrong.
type apiError struct {
	code int
	text string
}

func (e apiError) Error() string { return e.text }

func isNotFound(err error) bool {
	var e apiError
	return errors.As(err, &e) && e.code == http.StatusNotFound
}

// call makes a request and decodes the metadata of the answer.
func (d *Daemon) call(ctx context.Context, method, path, contentType string, body io.Reader, metadata any) error {
	resp, err := d.do(ctx, method, path, contentType, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct {
		Error     string
		ErrorCode int `json:"error_code"`
		Metadata  json.RawMessage
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("cannot read its answer: %w", err)
	}
	if answer.Error != "" {
		return apiError{answer.ErrorCode, answer.Error}
	}
	if metadata == nil {
		return nil
	}
	return json.Unmarshal(answer.Metadata, metadata)
}

// maxText bounds the logs that are read, in bytes.
const maxText = 1 << 20

// text returns a log, which is no JSON.
func (d *Daemon) text(ctx context.Context, path string) (string, error) {
	resp, err := d.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", apiError{resp.StatusCode, resp.Status}
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxText))
	return string(data), err
}

// do makes a request.
func (d *Daemon) do(ctx context.Context, method, path, contentType string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://lxd"+path, body)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := d.http.Do(req)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return nil, cause
	}
	return resp, err
}
