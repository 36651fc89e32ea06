// Package exampletest serves a small index in the process of a test, for the examples to query.
package exampletest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"weft.dev/weft/api"
	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/link"
)

// Index is an index with a server.
type Index struct {
	URL   string
	store *db.Store
	mu    sync.Mutex
	n     uint64
}

// Start starts an index that ends with the test.
func Start(t *testing.T) *Index {
	t.Helper()
	store, err := db.Open(db.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	handler := api.New(api.Config{Store: store, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() { defer close(ran); _ = handler.Run(ctx) }()
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		cancel()
		<-ran
		server.Close()
		_ = store.Close()
	})
	return &Index{URL: server.URL, store: store}
}

// Link applies an account's new record that links to a target; source is written as in queries.
func (x *Index) Link(t *testing.T, did, source, target string) {
	t.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.n++
	collection, path, _ := strings.Cut(source, ":")
	rev := string(link.AppendTID(nil, (1_770_000_000_000_000+x.n)<<10))
	event := apply.Event{Seq: x.n, TimeUS: int64(1_770_000_000_000_000 + x.n), Op: db.OpCreate, DID: did,
		Collection: collection,
		Rkey:       fmt.Sprint("r", x.n), Rev: rev, Links: []db.Link{{Path: path, Target: target}}}
	_, err := x.store.Apply(db.Batch{Host: "https://jetstream.example", Events: []apply.Event{event}})
	if err != nil {
		t.Fatal(err)
	}
}

// Lines runs a program that prints to its writer, and passes each of its lines to do until do returns false.
func Lines(t *testing.T, run func(ctx context.Context, stdout io.Writer) error, do func(line string) bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, w)
		_ = w.Close()
		ended <- err
	}()
	var line []byte
	for b := make([]byte, 1); ; {
		_, err := r.Read(b)
		if err != nil {
			break
		}
		if b[0] != '\n' {
			line = append(line, b[0])
			continue
		}
		if !do(string(line)) {
			cancel()
			_ = r.Close()
			t.Log("ended as asked: ", <-ended)
			return
		}
		line = nil
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
