package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/sim/truth"
	"weft.dev/weft/ingest/upstream"
)

// sliceOfArgs reads the flags of a slice.
func sliceOfArgs(args ...string) (c ingest.SliceConfig, files sliceFiles, err error) {
	cmd := &cli.Command{Name: "serve", Flags: sliceFlags(), Action: func(_ context.Context, cmd *cli.Command) error {
		var err error
		c, _, err = sliceOf(cmd, nil)
		files = sliceFilesOf(cmd, nil)
		return err
	}}
	err = cmd.Run(context.Background(), append([]string{"serve"}, args...))
	return c, files, err
}

// TestSubjectFlags: subjects from flags and files are normalised, and a file without a subject doesn't select
// everything.
func TestSubjectFlags(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "subjects")
	write(t, file, "# a community\nEXAMPLE.org\n\n at://did:web:a.example/app.bsky.feed.post/ # its posts\n")
	c, files, err := sliceOfArgs("--subjects=did:web:a.example", "--subjects=@"+file)
	if err != nil ||
		strings.Join(c.Subjects, " ") != "at://did:web:a.example/app.bsky.feed.post did:web:a.example example.org" {
		t.Errorf("%q, %v", c.Subjects, err)
	}
	if !files.subjects || files.dids || len(files.names) != 1 {
		t.Errorf("%+v", files)
	}
	write(t, file, "# nothing\n")
	for _, flag := range []string{"--subjects", "--dids"} {
		if _, _, err := sliceOfArgs(flag + "=@" + file); err == nil || !strings.Contains(err.Error(), "has no entry") {
			t.Errorf("%s of an empty file: %v", flag, err)
		}
	}
	if _, _, err := sliceOfArgs("--subjects=https://example.org/x"); err == nil ||
		!strings.Contains(err.Error(), "--subjects") || !strings.Contains(err.Error(), "example.org") {
		t.Errorf("a page: %v", err)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestExplain: only lists of files may change without --change-slice, and no list may become empty or non-empty.
func TestExplain(t *testing.T) {
	t.Parallel()
	of := func(dids, subjects string, collections ...string) ingest.SliceConfig {
		return ingest.SliceConfig{DIDs: strings.Fields(dids), Subjects: strings.Fields(subjects), Collections: collections}
	}
	both := sliceFiles{dids: true, subjects: true}
	for _, tc := range []struct {
		name    string
		files   sliceFiles
		was, is ingest.SliceConfig
		want    bool
	}{
		{"subjects of a file", both, of("", "a.x"), of("", "a.x b.x"), true},
		{"accounts of a file", both, of("did:web:a", "a.x"), of("did:web:b", "a.x"), true},
		{"subjects of flags", sliceFiles{dids: true}, of("", "a.x"), of("", "b.x"), false},
		{"no file", sliceFiles{}, of("did:web:a", ""), of("did:web:b", ""), false},
		{"subjects begin", both, of("", ""), of("", "b.x"), false},
		{"subjects cease", both, of("", "b.x"), of("", ""), false},
		{"a collection too", both, of("", "a.x"), of("", "b.x", "a.b.c"), false},
	} {
		if got := tc.files.explain(tc.was, tc.is); got != tc.want {
			t.Errorf("%s: %t", tc.name, got)
		}
	}
}

// eventually polls: the condition depends on other goroutines and a network.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute until %s", what)
		}
	}
}

// TestSubjectsFollowTheirFile: while weft runs, a subject added to the file is backfilled from the archive and a
// removed one is purged. An unreadable file changes nothing. A restart gives the same index.
func TestSubjectsFollowTheirFile(t *testing.T) {
	t.Parallel()
	server, err := sim.NewServer(sim.ServerConfig{Backlog: 3000, EventsPerSegment: 1000,
		NetworkConfig: sim.NetworkConfig{Accounts: 200}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	defer func() { cancel(); <-done }()
	m, err := truth.Model(server, 1)
	if err != nil {
		t.Fatal(err)
	}
	m.Settle()
	lists := m.Lists()
	popular := popularTargets(sim.NewNetwork(sim.NetworkConfig{Accounts: 200}), 3000)
	post, account := popular[0], popular[1]
	for _, of := range []*linkCount{&post, &account} { // without removed links
		of.links = len(lists[dbtest.List{Target: of.target, Source: of.source}])
	}

	file := filepath.Join(t.TempDir(), "subjects")
	dir := t.TempDir()
	start := func() (w *writer, hangUp func(), stop func()) {
		c, files, err := sliceOfArgs("--subjects=@" + file)
		if err != nil {
			t.Fatal(err)
		}
		store, err := db.Open(db.Config{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		hangups := make(chan os.Signal)
		files.hangups = hangups
		files.every = 10 * time.Millisecond
		w = &writer{store: store, logger: slog.New(slog.DiscardHandler), writerConfig: writerConfig{
			jetstream: []upstream.Endpoint{{URL: server.URL()}}, slice: c, files: files}}
		w.filter, err = ingest.NewSlice(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.applySlice(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.ingest = ingest.New(ingest.Config{Hosts: w.jetstream, Store: store, From: ingest.From{Start: true}, Slice: w.filter,
			Fill: 20 * time.Millisecond})
		run, end := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- w.runIngest(run) }()
		return w, func() { hangups <- os.Interrupt }, func() {
			end()
			if err := errors.Join(<-ended, store.Close()); err != nil {
				t.Error(err)
			}
		}
	}
	links := func(w *writer, of linkCount) int64 {
		n, err := w.store.CountLinks(t.Context(), of.target, of.source)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	shown := func(w *writer) string {
		var b strings.Builder
		for _, g := range w.upstream().Subjects {
			fmt.Fprintf(&b, "%d %t;", g.Count, g.Since.IsZero())
		}
		return b.String()
	}

	write(t, file, post.target)
	w, hangUp, stop := start()
	eventually(t, "the post's likes are there", func() bool { return links(w, post) == int64(post.links) })
	eventually(t, "all is read", func() bool { return w.store.Cursor(server.URL()) >= server.Tip() })
	if n := links(w, account); n != 0 || shown(w) != "1 true;" {
		t.Errorf("%d links to an account that is no subject; %s", n, shown(w))
	}

	write(t, file, post.target+"\n"+account.target)
	eventually(t, "the account's followers are there", func() bool { return links(w, account) == int64(account.links) })
	eventually(t, "the status says so", func() bool { return shown(w) == "2 true;" })

	write(t, file, "nonsense")
	hangUp()
	hangUp() // the first is done
	if got := w.upstream().Slice; got != "links to 2 subjects" {
		t.Errorf("a file that can't be read makes it %q", got)
	}

	write(t, file, account.target)
	hangUp()
	eventually(t, "the post's likes are gone", func() bool { return links(w, post) == 0 && w.ingest.Ready() == nil })
	if n := links(w, account); n != int64(account.links) || shown(w) != "1 true;" {
		t.Errorf("the account has %d followers, want %d; %s", n, account.links, shown(w))
	}
	stop()

	write(t, file, post.target) // while weft is stopped
	w, _, stop = start()
	defer stop()
	eventually(t, "the post's likes are back", func() bool { return links(w, post) == int64(post.links) })
	if n := links(w, account); n != 0 {
		t.Errorf("%d links to the account that has left", n)
	}
}

// TestPurgeResumes: the next start completes a purge that a crash interrupted.
func TestPurgeResumes(t *testing.T) {
	t.Parallel()
	store, err := db.Open(db.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	commit := func(ctx context.Context, change string, subjects ...string) error {
		w := &writer{store: store, logger: slog.New(slog.DiscardHandler),
			writerConfig: writerConfig{slice: ingest.SliceConfig{Subjects: subjects}}}
		if w.filter, err = ingest.NewSlice(w.slice); err != nil {
			t.Fatal(err)
		}
		if w.change, err = parseSliceChange(change); err != nil {
			t.Fatal(err)
		}
		return w.applySlice(ctx)
	}
	if err := commit(t.Context(), "", "a.example", "b.example"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Apply(db.Batch{Host: "https://a.example",
		Events: []apply.Event{{Seq: 1, TimeUS: 1_770_000_000_000_000, Op: db.OpCreate,
			DID: "did:web:a.example", Collection: "a.b.c", Rkey: "self", Rev: "3mdtsyunhbu22",
			Links: []db.Link{{Path: "x", Target: "https://a.example/"},
				{Path: "y", Target: "https://b.example/"}}}}}); err != nil {
		t.Fatal(err)
	}
	canceled := &endsLater{Context: t.Context()}
	if err := commit(canceled, "now+purge", "a.example"); !errors.Is(err, context.Canceled) {
		t.Fatalf("a purge that is broken off: %v", err)
	}
	if err := commit(t.Context(), "", "a.example"); err != nil {
		t.Fatal(err)
	}
	st, err := store.Stats(t.Context())
	if err != nil || st.Links != 1 || st.Records != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	text, err := store.Slice(t.Context())
	if err != nil || strings.Contains(text, "purging") {
		t.Errorf("%s, %v", text, err)
	}
}

// TestPurgeWaitsForRoom: on an almost full disk the new slice applies at once, and links outside it are removed when
// there is space.
func TestPurgeWaitsForRoom(t *testing.T) {
	t.Parallel()
	var free atomic.Int64
	free.Store(1 << 40)
	store, err := db.Open(db.Config{Dir: t.TempDir(), Disk: func(string) (int64, int64, error) {
		return free.Load(),
			1 << 41, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	config := ingest.SliceConfig{Subjects: []string{"a.example", "b.example"}}
	filter, err := ingest.NewSlice(config)
	if err != nil {
		t.Fatal(err)
	}
	w := &writer{store: store, logger: slog.New(slog.DiscardHandler),
		writerConfig: writerConfig{slice: config, filter: filter},
		ingest:       ingest.New(ingest.Config{Hosts: []upstream.Endpoint{{URL: "https://up.example"}}, Store: store})}
	if err := w.applySlice(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Apply(db.Batch{Host: "https://up.example",
		Events: []apply.Event{{Seq: 1, TimeUS: 1_770_000_000_000_000, Op: db.OpCreate,
			DID: "did:web:a.example", Collection: "a.b.c", Rkey: "self", Rev: "3mdtsyunhbu22",
			Links: []db.Link{{Path: "x", Target: "https://a.example/"},
				{Path: "y", Target: "https://b.example/"}}}}}); err != nil {
		t.Fatal(err)
	}
	narrow := ingest.SliceConfig{Subjects: []string{"a.example"}}
	filter, err = ingest.NewSlice(narrow)
	if err != nil {
		t.Fatal(err)
	}
	if w.change, err = parseSliceChange("now+purge"); err != nil {
		t.Fatal(err)
	}
	free.Store(0)
	if err := w.applyChoice(t.Context(), &sliceChoice{narrow, filter}); err != nil {
		t.Fatal(err)
	}
	if w.filter != filter || !w.sliceState.Load().Purging {
		t.Error("the new slice does not count, or its purge is forgotten")
	}
	again := &writer{store: store, logger: w.logger, writerConfig: writerConfig{slice: narrow, filter: filter}}
	if err := again.applySlice(t.Context()); err != nil {
		t.Errorf("a start during the pause: %v", err)
	}
	free.Store(1 << 40)
	if err := again.applySlice(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := store.Stats(t.Context())
	if err != nil || st.Links != 1 || again.sliceState.Load().Purging {
		t.Errorf("%+v, %v", st, err)
	}
}

// endsLater is a context that has an Err but an open Done: queries work, and a purge, which checks Err between two
// accounts, is interrupted.
type endsLater struct{ context.Context }

func (endsLater) Err() error { return context.Canceled }
