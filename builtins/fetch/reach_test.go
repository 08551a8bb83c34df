package fetch_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"imagebuilder/builtins/fetch"
)

func TestReach(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	if status, err := fetch.Reach(t.Context(), server.URL+"/x", time.Minute); status != "404 Not Found" || err != nil {
		t.Errorf("a server that has not the file: %q, %v", status, err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // it takes calls and says nothing
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + silent.Addr().String() + "/"
	if _, err := fetch.Reach(t.Context(), url, 100*time.Millisecond); err == nil || err.Error() != "no answer within 100ms" {
		t.Errorf("one that is silent: %v", err)
	}
	silent.Close()
	if _, err := fetch.Reach(t.Context(), url, time.Minute); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("one that is not there: %v", err)
	}
}
