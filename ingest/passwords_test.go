package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/upstream"
)

// log is a log that is safe for concurrent use.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// TestPasswords: a user name and a password are sent as configured, and are in no status, gap, log or cursor.
func TestPasswords(t *testing.T) {
	t.Parallel()
	const user, password = "Me", "SecReT"
	server := newStream(t, &stream{})
	inner := server.Config.Handler
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != user || p != password {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	})
	server.send(1, time.Now().Add(-30*time.Hour))
	store := openStore(t, t.TempDir())
	defer store.Close()
	var said log
	address := strings.Replace(server.URL, "http://", "ws://"+user+":"+password+"@", 1) + "/subscribe"
	endpoint := must(upstream.ParseAddress(address)).Endpoint
	endpoint.HTTP = pipeClient(t)
	in := ingest.New(ingest.Config{Hosts: []upstream.Endpoint{endpoint},
		Store: store, From: ingest.From{Start: true}, Silence: short,
		Logger: slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	until(t, "its event is there", func() bool { return links(t, store) == 1 })
	server.setAway(true)
	until(t, "the session has ended", func() bool { return in.Ready() != nil })
	server.send(1, time.Now())
	server.forget(1)
	server.setAway(false)
	until(t, "the next one is there, behind a gap", func() bool {
		return links(t, store) == 2 &&
			len(gapsOf(t, store)) == 1
	})
	cancel()
	if err := errors.Join(<-done, store.Close()); err != nil {
		t.Fatal(err)
	}
	if store.Cursor(server.URL) == 0 {
		t.Errorf("the cursor isn't kept under %s", server.URL)
	}
	for what, text := range map[string]string{"the status": fmt.Sprintf("%+v", in.Status()), "the log": said.String()} {
		if strings.Contains(text, password) || strings.Contains(text, user+":") || !strings.Contains(text, server.URL) {
			t.Errorf("%s: %s", what, text)
		}
	}
}
