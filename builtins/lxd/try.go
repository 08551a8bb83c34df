package lxd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"imagebuilder/builtins/host"
)

// A container that is started to see whether its image boots. Nothing of it stays.

// CleanUp is how long the daemon may take to end what it does for one who no longer waits,
// and to remove what a trial has put there.
const CleanUp = time.Minute

// askAgain is how long to wait between two looks at a container that boots.
const askAgain = 500 * time.Millisecond

// A Trial is what has come of a container that was started.
type Trial struct {
	Took   time.Duration // from its start until it was up
	Failed []string      // units of systemd that have failed
}

// Try starts a container of an image and waits until it is up: until systemd says so, or any
// other init runs and programs can be run beside it. The container is removed in every
// outcome, and so is the image unless the daemon had it before. That the container does not
// come up within the timeout, where 0 is no limit, or not at all, is an error that has a
// [host.ExitError] with what its console said last.
func (d *Daemon) Try(ctx context.Context, img Upload, timeout time.Duration) (t Trial, err error) {
	if timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, timeout, lateError(timeout))
		defer stop()
	}
	err = d.call(ctx, http.MethodGet, "/1.0/images/"+img.Fingerprint, "", nil, nil)
	if isNotFound(err) {
		defer func() { err = d.remove(ctx, err, "/1.0/images/"+img.Fingerprint) }()
		err = d.upload(ctx, img)
	}
	if err != nil {
		return t, fmt.Errorf("cannot import the image into %s: %w", d.server, err)
	}
	c := container{d, fmt.Sprintf("imagebuilder-boot-%d", os.Getpid())}
	err = c.create(ctx, img.Fingerprint)
	if err == nil || context.Cause(ctx) != nil { // else one of the name is somebody else's
		defer func() { err = c.end(ctx, err) }()
	}
	if err != nil {
		return t, fmt.Errorf("cannot make a container of the image: %w", err)
	}
	start := time.Now()
	if err := c.act(ctx, "start", false); err != nil {
		return t, c.explain(ctx, fmt.Errorf("cannot start a container of the image: %w", err))
	}
	t.Failed, err = c.wait(ctx)
	t.Took = time.Since(start)
	if err != nil {
		return t, c.explain(ctx, err)
	}
	return t, nil
}

// A lateError is the end of a trial that took too long.
type lateError time.Duration

func (e lateError) Error() string { return fmt.Sprintf("it was not up within %v", time.Duration(e)) }

// A container is the one of a trial.
type container struct {
	*Daemon
	name string
}

func (c container) path(elem string) string { return "/1.0/instances/" + c.name + elem }

func (c container) create(ctx context.Context, fingerprint string) error {
	return c.operate(ctx, http.MethodPost, "/1.0/instances", map[string]any{
		"name": c.name, "type": "container", "ephemeral": true,
		"source": map[string]string{"type": "image", "fingerprint": fingerprint},
	})
}

func (c container) act(ctx context.Context, action string, force bool) error {
	return c.operate(ctx, http.MethodPut, c.path("/state"), map[string]any{"action": action, "force": force, "timeout": -1})
}

// probe is what tells, run inside, how far the container has come: systemd says so itself.
// Any other init is "there". Where the first program is still that of LXD, it is yet to come.
const probe = `case $(readlink /proc/1/exe) in
*/systemd) systemctl is-system-running ;;
*/lxd|*/lxc*|'') echo starting ;;
*) echo there ;;
esac`

// wait waits until the container is up and returns which units have failed.
func (c container) wait(ctx context.Context) (failed []string, err error) {
	for there := 0; ; {
		var state struct{ Status string }
		if err := c.call(ctx, http.MethodGet, c.path("/state"), "", nil, &state); isNotFound(err) {
			return nil, errors.New("it has stopped")
		} else if err != nil {
			return nil, err
		}
		if state.Status == "Stopped" {
			return nil, errors.New("it has stopped")
		}
		text, _ := c.run(ctx, probe) // that nothing can be run yet passes
		if context.Cause(ctx) != nil {
			return nil, context.Cause(ctx)
		}
		switch text {
		case "running":
			return nil, nil
		case "there": // it may end at once
			if there++; there > 1 {
				return nil, nil
			}
		case "degraded":
			text, err := c.run(ctx, "systemctl list-units --failed --plain --no-legend --no-pager | cut -d ' ' -f 1")
			return strings.Fields(text), err
		case "maintenance":
			return nil, errors.New("it has ended in emergency mode")
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(askAgain):
		}
	}
}

// run runs a script in the container and returns what it prints.
func (c container) run(ctx context.Context, script string) (string, error) {
	var result struct{ Output map[string]string }
	var operation struct{ ID string }
	err := c.send(ctx, http.MethodPost, c.path("/exec"), map[string]any{
		"command": []string{"/bin/sh", "-c", script}, "record-output": true, "interactive": false, "wait-for-websocket": false,
		"environment": map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
	}, &operation)
	if err == nil {
		err = c.Daemon.wait(ctx, operation.ID, &result)
	}
	if err != nil || result.Output["1"] == "" {
		return "", err
	}
	text, err := c.text(ctx, result.Output["1"])
	return strings.TrimSpace(text), err
}

// explain adds what the console of the container said last, unless the caller is the cause.
func (c container) explain(ctx context.Context, err error) error {
	var late lateError
	if cause := context.Cause(ctx); cause != nil && !errors.As(cause, &late) {
		return err
	}
	after, stop := afterwards(ctx)
	defer stop()
	var tail host.Tail
	if text, err := c.text(after, c.path("/console")); err == nil { // it has none if it has not started
		io.WriteString(&tail, strings.ReplaceAll(text, "\r", ""))
	}
	return &host.ExitError{Err: err, Output: tail.String()}
}

// end takes the container away: it goes when it stops, unless it has not run.
func (c container) end(ctx context.Context, err error) error {
	after, stop := afterwards(ctx)
	defer stop()
	c.act(after, "stop", true) // it may have stopped
	err = c.remove(ctx, err, c.path(""))
	// One that has stopped by itself may be on its way out, and is there until that is over.
	for c.call(after, http.MethodGet, c.path("/state"), "", nil, nil) == nil {
		select {
		case <-after.Done():
			return errors.Join(err, fmt.Errorf("the container %s does not go", c.name))
		case <-time.After(askAgain):
		}
	}
	return err
}

// remove removes something, whatever has come of the trial; that it is not there is well.
func (d *Daemon) remove(ctx context.Context, err error, path string) error {
	after, stop := afterwards(ctx)
	defer stop()
	gone := d.order(after, http.MethodDelete, path, "", nil)
	if gone == nil || isNotFound(gone) {
		return err
	}
	return errors.Join(err, fmt.Errorf("cannot remove %s from LXD: %w", strings.TrimPrefix(path, "/1.0/"), gone))
}

// afterwards is the time in which a trial is cleaned up.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), CleanUp)
}

// operate is order with a body of JSON.
func (d *Daemon) operate(ctx context.Context, method, path string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return d.order(ctx, method, path, "application/json", bytes.NewReader(text))
}

// send makes a request with a body of JSON.
func (d *Daemon) send(ctx context.Context, method, path string, body, metadata any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return d.call(ctx, method, path, "application/json", bytes.NewReader(text), metadata)
}
