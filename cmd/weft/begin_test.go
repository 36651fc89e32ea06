package main

import (
	"bytes"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/api"
	"weft.dev/weft/db"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/upstream"
)

// TestBindFirst: an address in use ends the start before anything is on disk.
func TestBindFirst(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, args := range [][]string{
		{"--listen=nonsense"},
		{"--listen=" + taken.Addr().String()},
		{"--listen=127.0.0.1:0", "--metrics-listen=" + taken.Addr().String()},
		{"--listen=127.0.0.1:0", "--jetstream=https://jetstream.example/v1"},
	} {
		dir := filepath.Join(t.TempDir(), "data")
		code, _, stderr := weft(t.Context(), append([]string{"serve", "--data=" + dir, "--resolve-handles=false",
			"--jetstream=127.0.0.1:1"}, args...)...)
		if _, err := os.Stat(dir); code == 0 || !os.IsNotExist(err) {
			t.Errorf("%q: code %d, %q; of the directory %v", args, code, stderr, err)
		}
	}
}

// TestEmptyTakesAnySlice: an index without links accepts another slice and is complete from then on.
func TestEmptyTakesAnySlice(t *testing.T) {
	t.Parallel()
	store, err := db.Open(db.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	begin := func(collections ...string) *writer {
		t.Helper()
		s := &writer{store: store, writerConfig: writerConfig{slice: ingest.SliceConfig{Collections: collections}},
			logger: slog.New(slog.DiscardHandler)}
		if err := s.applySlice(t.Context()); err != nil {
			t.Fatal(err)
		}
		return s
	}
	begin("app.bsky.feed")
	// Events came, but none matched the slice.
	if _, err := store.Apply(db.Batch{Host: "https://a.example", Seq: 9, TimeUS: time.Now().UnixMicro()}); err != nil {
		t.Fatal(err)
	}
	s := begin("app.bsky.feed.*")
	if len(s.sliceState.Load().Parts) != 1 || s.sliceState.Load().Parts[0].What != "app.bsky.feed.*" ||
		!s.sliceState.Load().Parts[0].Since.IsZero() {
		t.Errorf("%+v", s.sliceState.Load())
	}
	if store.LastFollowed() != "" {
		t.Error("it doesn't begin anew")
	}
	if text, err := store.Slice(t.Context()); err != nil || text != s.sliceState.Load().String() {
		t.Errorf("%q is kept, %v", text, err)
	}
}

// TestGroups: a collection that is only a namespace gets a warning with the likely name; other collections get none.
func TestGroups(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	warnOfGroups(slog.New(slog.NewTextHandler(&said, nil)), ingest.SliceConfig{
		Collections: []string{"app.bsky.feed", "app.bsky.graph.*", "app.bsky.feed.like", "sh.tangled.repo",
			"chat.bsky.convo"},
		Exclude: []string{"app.bsky.graph"},
	})
	for _, want := range []string{"--collections app.bsky.feed.*?", "--collections chat.bsky.convo.*?",
		"--exclude-collections app.bsky.graph.*?"} {
		if !strings.Contains(said.String(), "did you mean "+want) {
			t.Errorf("%q isn't said: %s", want, said.String())
		}
	}
	if n := strings.Count(said.String(), "\n"); n != 3 {
		t.Errorf("%d warnings: %s", n, said.String())
	}
}

// TestAddressFilters: the filters in the addresses of upstreams are the slice, and must agree with each other and with
// the flags.
func TestAddressFilters(t *testing.T) {
	t.Parallel()
	like := upstream.Address{Endpoint: upstream.Endpoint{URL: "https://a.example"},
		Filter: upstream.Filter{Collections: []string{"app.bsky.feed.like"}}}
	for _, tc := range []struct {
		name  string
		flags []string
		want  string // empty: refused
	}{
		{"no flag", nil, "app.bsky.feed.like"},
		{"the same flag", []string{"app.bsky.feed.like"}, "app.bsky.feed.like"},
		{"another flag", []string{"app.bsky.feed.post"}, ""},
	} {
		c := ingest.SliceConfig{Collections: tc.flags}
		err := addFilters(&c, like)
		if (err == nil) != (tc.want != "") || err == nil && strings.Join(c.Collections, " ") != tc.want {
			t.Errorf("%s: %+v, %v", tc.name, c, err)
		}
	}
}

// TestTopFile: a writer keeps the counts of getTop in its data directory.
func TestTopFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, err := db.Open(db.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var c api.Config
	w := &writer{store: store, writerConfig: writerConfig{db: db.Config{Dir: dir}}}
	w.configure(&c)
	if want := filepath.Join(dir, "top.counts"); c.TopFile != want {
		t.Errorf("the file is %q, not %q", c.TopFile, want)
	}
}
