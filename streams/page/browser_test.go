package page_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// A browser is a headless Chromium with one tab, driven by the DevTools protocol over a
// pipe. See https://chromedevtools.github.io/devtools-protocol/.
type browser struct {
	t       *testing.T
	out     *os.File
	session string

	mu      sync.Mutex
	last    int
	waiting map[int]chan browserReply
	errors  []string // that the page has caused
}

type browserReply struct {
	ID     int
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *struct{ Message string }
}

// startBrowser starts Chromium, or skips the test where there is none.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	if testing.Short() {
		t.Skip("takes a browser")
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs chromium (Debian package chromium)")
	}
	commands, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	in, replies, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--headless", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir(), "--no-first-run",
		"--no-sandbox",                // which does not start for root; the page is our own
		"--ignore-certificate-errors", // and so is the server
		"--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync")
	cmd.ExtraFiles = []*os.File{commands, replies} // the browser's 3 and 4
	if err := cmd.Start(); err != nil {
		t.Skipf("chromium does not start here: %v", err)
	}
	commands.Close()
	replies.Close()
	b := &browser{t: t, out: out, waiting: make(map[int]chan browserReply)}
	go b.read(bufio.NewReader(in))
	t.Cleanup(func() {
		out.Close() // the browser ends when its pipe does
		cmd.Wait()
		in.Close()
	})
	b.attach()
	return b
}

// attach opens the tab.
func (b *browser) attach() {
	b.t.Helper()
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var session struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &session)
	b.session = session.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		b.call(domain+".enable", nil, nil)
	}
}

// read sorts what the browser says: answers go to who waits for them, complaints of the
// page are kept.
func (b *browser) read(in *bufio.Reader) {
	for {
		data, err := in.ReadBytes(0)
		if err != nil {
			return
		}
		var r browserReply
		if json.Unmarshal(data[:len(data)-1], &r) != nil {
			continue
		}
		b.mu.Lock()
		switch {
		case r.ID != 0:
			b.waiting[r.ID] <- r
			delete(b.waiting, r.ID)
		case r.Method == "Log.entryAdded", r.Method == "Runtime.exceptionThrown":
			b.errors = append(b.errors, string(r.Params))
		}
		b.mu.Unlock()
	}
}

// call calls a method of the protocol.
func (b *browser) call(method string, params any, result any) {
	b.t.Helper()
	b.mu.Lock()
	b.last++
	message := map[string]any{"id": b.last, "method": method}
	if params != nil {
		message["params"] = params
	}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	answer := make(chan browserReply, 1)
	b.waiting[b.last] = answer
	b.mu.Unlock()
	data, err := json.Marshal(message)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.out.Write(append(data, 0)); err != nil {
		b.t.Fatalf("chromium has ended: %v", err)
	}
	select {
	case r := <-answer:
		if r.Error != nil {
			b.t.Fatalf("%s: %s", method, r.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(r.Result, result); err != nil {
				b.t.Fatal(err)
			}
		}
	case <-time.After(time.Minute):
		b.t.Fatalf("%s: chromium does not answer", method)
	}
}

// open opens an address and waits until the page is complete.
func (b *browser) open(url string) {
	b.t.Helper()
	b.eval("window.name = 'old'", nil) // a page that is not there yet does not count
	b.call("Page.navigate", map[string]any{"url": "about:blank"}, nil)
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	b.wait(fmt.Sprintf("location.href === %q && document.readyState === 'complete'", url))
}

// wait polls until an expression is true.
func (b *browser) wait(expression string) {
	b.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		var ok bool
		if b.eval(expression, &ok); ok {
			return
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("waited too long for %s", expression)
		}
	}
}

// eval evaluates an expression in the page.
func (b *browser) eval(expression string, result any) {
	b.t.Helper()
	var r struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true, "userGesture": true}, &r)
	if r.ExceptionDetails != nil {
		b.t.Fatalf("%.200s: %s %s", expression, r.ExceptionDetails.Text, r.ExceptionDetails.Exception.Description)
	}
	if result == nil || r.Result.Value == nil {
		return
	}
	if err := json.Unmarshal(r.Result.Value, result); err != nil {
		b.t.Fatal(err)
	}
}

// press presses and releases a key.
func (b *browser) press(key string, code int, text string) {
	b.t.Helper()
	params := map[string]any{"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text}
	b.call("Input.dispatchKeyEvent", params, nil)
	b.call("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code}, nil)
}

// show sets the size of the window and whether the system prefers dark.
func (b *browser) show(width, height int, scheme string) {
	b.t.Helper()
	b.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}, nil)
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// shoot writes a picture of the page into the directory that PAGE_SCREENSHOTS names, for
// people to look at.
func (b *browser) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("PAGE_SCREENSHOTS")
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(dir+"/"+name+".png", data, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}
