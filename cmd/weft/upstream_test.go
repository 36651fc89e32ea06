package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/upstream"
)

// TestGapsCommand lists and retries gaps, also of an open index.
func TestGapsCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := db.Open(db.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	_, empty, _ := weft(t.Context(), "gaps", "--data", dir)
	for _, g := range []db.Gap{{Host: "https://a.example", From: 7, To: 1900, Why: "a block is broken"},
		{Host: "https://b.example", From: 1_782_864_000_000_000, To: 1_782_864_060_000_000,
			Why: "another upstream was left there"}} {
		if err := s.AddGap(g); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.TriedGap(1, true, "filled from an archive"),
		s.TriedGap(2, false, "the archive answers 403")); err != nil {
		t.Fatal(err)
	}
	code, listed, stderr := weft(t.Context(), "gaps", "--data", dir)
	if code, _, open := weft(t.Context(), "gaps", "--data", dir, "retry"); code != 1 ||
		!strings.Contains(open, "try again when it serves") {
		t.Errorf("of an index that does not serve: code %d, %q", code, open)
	}
	c := startControl(dir, s, slog.New(slog.DiscardHandler))
	for _, tc := range []struct {
		id, out, stderr string
		code            int
	}{{"2", "1 gap will be retried within a minute\n", "", 0}, {"1", "", "weft: no open gap has this id\n", 1}} {
		code, out, stderr := weft(t.Context(), "gaps", "--data", dir, "retry", tc.id)
		if code != tc.code || out != tc.out || stderr != tc.stderr {
			t.Errorf("gap %s of a running weft: code %d, %q, %q", tc.id, code, out, stderr)
		}
	}
	c.stop()
	if gaps, err := s.AllGaps(t.Context()); err != nil || len(gaps) != 2 || gaps[1].Tries != 0 || gaps[1].TriedUS != 0 {
		t.Errorf("%+v, %v", gaps, err)
	}
	if err := s.TriedGap(2, false, "the archive answers 403"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if code != 0 || !strings.Contains(empty, "No gaps") {
		t.Errorf("code %d, %q, %q", code, empty, stderr)
	}
	for _, want := range []string{"1  filled  https://a.example\n   7 to 1,900: a block is broken\n",
		"2  open  https://b.example\n   2026-07-01T00:00:00Z to 2026-07-01T00:01:00Z", "1 attempt, ",
		"the archive answers 403"} {
		if !strings.Contains(listed, want) {
			t.Errorf("%q is not in\n%s", want, listed)
		}
	}
	if code, out, stderr := weft(t.Context(), "gaps", "--data", dir, "retry", "2"); code != 0 ||
		!strings.Contains(out, "1 gap will be retried") {
		t.Errorf("retry: code %d, %q, %q", code, out, stderr)
	}
	if code, _, stderr := weft(t.Context(), "gaps", "--data", dir, "retry", "1"); code != 1 ||
		!strings.Contains(stderr, "no open gap") {
		t.Errorf("retry of what is filled: code %d, %q", code, stderr)
	}
	if gaps, err := db.ListGaps(t.Context(), dir); err != nil || len(gaps) != 2 || gaps[1].Tries != 0 {
		t.Errorf("%+v, %v", gaps, err)
	}
}

// TestSliceIsKept: an index of one slice isn't silently changed to another.
func TestSliceIsKept(t *testing.T) {
	t.Parallel()
	store, err := db.Open(db.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	begin := func(change string, collections ...string) (*writer, error) {
		t.Helper()
		s := &writer{store: store, logger: slog.New(slog.DiscardHandler),
			writerConfig: writerConfig{db: db.Config{Dir: "the directory"}, slice: ingest.SliceConfig{Collections: collections}}}
		if s.filter, err = ingest.NewSlice(s.slice); err != nil {
			t.Fatal(err)
		}
		if s.change, err = parseSliceChange(change); err != nil {
			t.Fatal(err)
		}
		return s, s.applySlice(t.Context())
	}
	const like, follow = "app.bsky.feed.like", "app.bsky.graph.follow"
	if _, err := begin("", like); err != nil {
		t.Fatal(err)
	}
	var events []apply.Event
	for i, c := range []string{like, follow} {
		events = append(events, apply.Event{Seq: uint64(i + 1), TimeUS: 1_770_000_000_000_000, Op: db.OpCreate,
			DID: "did:web:a.example", Collection: c, Rkey: "self",
			Rev: "3mdtsyunhbu22", Links: []db.Link{{Path: "subject", Target: "https://example.com/"}}})
	}
	if _, err := store.Apply(db.Batch{Host: "https://a.example", Events: events}); err != nil {
		t.Fatal(err)
	}
	if _, err := begin("", like); err != nil {
		t.Errorf("the same slice: %v", err)
	}
	if _, err := begin("", like, follow); err == nil || !strings.Contains(err.Error(), "collections app.bsky.feed.like") ||
		!strings.Contains(err.Error(), "--change-slice") {
		t.Errorf("another slice: %v", err)
	}
	s, err := begin("now+backfill", like, follow)
	if err != nil || len(s.sliceState.Load().Parts) != 2 || !s.sliceState.Load().Parts[0].Since.IsZero() ||
		time.Since(s.sliceState.Load().Parts[1].Since) > time.Hour {
		t.Errorf("widened: %+v, %v", s.sliceState.Load(), err)
	}
	if gaps, err := store.Gaps(t.Context()); err != nil || len(gaps) != 1 || gaps[0].From != 1 || gaps[0].To != 2 {
		t.Errorf("what is to be filled: %+v, %v", gaps, err)
	}
	if _, err := begin("", like, follow); err != nil {
		t.Errorf("the slice that it was changed to: %v", err)
	}
	if _, err := begin("now+purge", follow); err != nil {
		t.Fatal(err)
	}
	if st, err := store.Stats(t.Context()); err != nil || st.Links != 1 {
		t.Errorf("after the purge: %+v, %v", st, err)
	}
}

// TestPlanAsksForYes: a backfill prints its plan, and a large one needs --yes.
func TestPlanAsksForYes(t *testing.T) {
	t.Parallel()
	server, err := sim.NewServer(sim.ServerConfig{Backlog: 5000, EventsPerSegment: 2000,
		NetworkConfig: sim.NetworkConfig{Accounts: 200}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	defer func() { cancel(); <-done }()
	store, err := db.Open(db.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	s := &writer{store: store, logger: slog.New(slog.DiscardHandler),
		writerConfig: writerConfig{jetstream: []upstream.Endpoint{{URL: server.URL()}}, from: ingest.From{Start: true},
			yesAbove: 1000}}
	if err := s.planBackfill(t.Context()); err == nil || !strings.Contains(err.Error(), "3 segments") ||
		!strings.Contains(err.Error(), "5,000 events") || !strings.Contains(err.Error(), "--yes") {
		t.Errorf("without --yes: %v", err)
	}
	s.yes = true
	if err := s.planBackfill(t.Context()); err != nil {
		t.Errorf("with it: %v", err)
	}
	s.yes, s.yesAbove = false, 0
	if err := s.planBackfill(t.Context()); err != nil {
		t.Errorf("of little: %v", err)
	}
}
