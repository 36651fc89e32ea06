package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

// TestOpening: while the index opens, queries get 503 with the progress, and health checks get 200. The next server
// answers on the same address.
func TestOpening(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := startOpening(l, "v1", slog.New(slog.DiscardHandler))
	get := func(path string) (int, http.Header, string) {
		t.Helper()
		client := &http.Client{Timeout: 10 * time.Second}
		resp, err := client.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header, string(body)
	}
	if code, _, body := get("/xrpc/_health"); code != http.StatusOK || !strings.Contains(body, "v1") {
		t.Errorf("health: %d %s", code, body)
	}
	o.progress("replaying the log", 20_000, 1_000_000)
	for _, path := range []string{"/readyz", "/status", "/", "/links?target=x"} {
		code, header, body := get(path)
		if code != http.StatusServiceUnavailable || header.Get("Retry-After") == "" ||
			!strings.Contains(body, "replaying the log, row 20,000 of 1,000,000") {
			t.Errorf("%s: %d %v %s", path, code, header, body)
		}
	}
	o.stop()
	o.stop()
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_,
			_ = io.WriteString(w, "served")
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	if _, _, body := get("/readyz"); body != "served" {
		t.Errorf("the server after it answers %q", body)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	<-done
}

// TestOpeningEnds: an interrupt while the index opens is not an error.
func TestOpeningEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := &writer{writerConfig: writerConfig{jetstream: []upstream.Endpoint{{URL: "http://127.0.0.1:1"}},
		db: db.Config{Dir: t.TempDir()}}}
	err := serve(ctx, daemonConfig{listen: "127.0.0.1:0", logger: slog.New(slog.DiscardHandler)}, w)
	if err != nil {
		t.Error(err)
	}
}
