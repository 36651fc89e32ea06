package ingest

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluesky-social/jetstream"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/extract"
)

func put(t *testing.T, q *queue, n int) {
	t.Helper()
	if err := q.add(t.Context(), func(b *batch) {
		b.seen += n
		b.Seq += uint64(n)
	}); err != nil {
		t.Fatal(err)
	}
}

// TestQueueTimes: a batch goes when it is large or old enough, whichever comes first.
func TestQueueTimes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		fill func(*testing.T, *queue)
		want time.Duration
		seen int
	}{
		{"full at once", func(t *testing.T, q *queue) { put(t, q, 10) }, 0, 10},
		{"old", func(t *testing.T, q *queue) { put(t, q, 3) }, 200 * time.Millisecond, 3},
		{"full before it is old", func(t *testing.T, q *queue) {
			put(t, q, 3)
			time.Sleep(50 * time.Millisecond)
			put(t, q, 7)
		}, 50 * time.Millisecond, 10},
		{"age counts from the first event", func(t *testing.T, q *queue) {
			put(t, q, 1)
			time.Sleep(150 * time.Millisecond)
			put(t, q, 1)
		}, 200 * time.Millisecond, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q := newQueue("host", 10, 200*time.Millisecond)
				start := time.Now()
				go tc.fill(t, q)
				b := q.take(t.Context())
				if took := time.Since(start); b == nil || b.seen != tc.seen || took != tc.want {
					t.Errorf("took %v after %s, want %d events after %s", b, took, tc.seen, tc.want)
				}
			})
		})
	}
}

// TestQueueBackPressure: the reader waits when it is four batches ahead, and goes on when one is taken.
func TestQueueBackPressure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue("host", 10, time.Second)
		put(t, q, 10*ahead)
		added := make(chan struct{})
		go func() {
			put(t, q, 1)
			close(added)
		}()
		synctest.Wait()
		select {
		case <-added:
			t.Fatal("the reader did not wait")
		default:
		}
		b := q.take(t.Context())
		<-added
		if b.seen != 10*ahead || q.depth() != 1 {
			t.Errorf("%d events were taken, %d are left", b.seen, q.depth())
		}
		q.done(b)
	})
}

// TestQueueBytes: large records make a batch ready and the reader wait as many events do.
func TestQueueBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue("host", 1000, time.Hour)
		record := make([]byte, 1<<20)
		add := func(n int) {
			if err := q.add(t.Context(), func(b *batch) {
				for range n {
					b.seen++
					b.text.copyRaw(record)
				}
			}); err != nil {
				t.Error(err)
			}
		}
		add(batchBytes / len(record))
		b := q.take(t.Context()) // long before it is old
		if b.seen != batchBytes/len(record) {
			t.Fatalf("%d events", b.seen)
		}
		for range ahead {
			add(batchBytes / len(record))
		}
		if !q.isFull() {
			t.Error("the reader goes on")
		}
		added := make(chan struct{})
		go func() {
			add(1)
			close(added)
		}()
		synctest.Wait()
		select {
		case <-added:
			t.Fatal("the reader did not wait")
		default:
		}
		q.done(b)
		b = q.take(t.Context())
		<-added
		q.done(b)
		if b.text.size != 0 || q.isFull() || q.depth() != 1 {
			t.Errorf("%d bytes are left in a batch that was committed, %d events wait", b.text.size, q.depth())
		}
	})
}

// TestPortion: large records go into the queue few at a time.
func TestPortion(t *testing.T) {
	t.Parallel()
	large := jetstream.Event{Commit: &jetstream.Commit{RecordCBOR: make([]byte, batchBytes/4)}}
	small := jetstream.Event{Account: &jetstream.Account{}}
	for _, tc := range []struct {
		name   string
		events []jetstream.Event
		bodies bool
		want   int
	}{
		{"small", []jetstream.Event{small, small, small}, true, 3},
		{"more than a batch", slices.Repeat([]jetstream.Event{small}, 20), true, 10},
		{"large", slices.Repeat([]jetstream.Event{large}, 9), true, 4},
		{"larger than a batch", []jetstream.Event{{Commit: &jetstream.Commit{RecordCBOR: make([]byte, 2*batchBytes)}}, small}, true, 1},
		{"large, and nobody keeps them", slices.Repeat([]jetstream.Event{large}, 9), false, 9},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			in := New(Config{BatchEvents: 10, Bodies: tc.bodies})
			if got := in.portion(tc.events); got != tc.want {
				t.Errorf("%d, not %d", got, tc.want)
			}
		})
	}
}

// TestQueueDrains: drained waits for the commit, not only for the queue to be empty; at the end of the context what
// is left is still given out.
func TestQueueDrains(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue("host", 10, time.Second)
		if err := q.drained(t.Context()); err != nil {
			t.Error("an empty queue is not drained")
		}
		put(t, q, 10)
		b := q.take(t.Context())
		put(t, q, 2)
		drained := make(chan struct{})
		go func() {
			_ = q.drained(t.Context())
			close(drained)
		}()
		q.done(b)
		synctest.Wait()
		select {
		case <-drained:
			t.Fatal("drained with two events in the queue")
		default:
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if b = q.take(ended); b == nil || b.seen != 2 {
			t.Fatalf("the end gives out %v", b)
		}
		q.done(b)
		<-drained
		if b := q.take(ended); b != nil {
			t.Errorf("after the end there is %v", b)
		}
		if err := q.drained(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestBatchTakesOver: what a batch holds does not change with the client's buffers.
func TestBatchTakesOver(t *testing.T) {
	t.Parallel()
	record := []byte("\xa2\x65$typekapp.example\x63urix\x15https://example.com/a") // {"$type": "app.example", "uri": …}
	did := []byte("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
	b, x := &batch{}, extract.New(extract.Limits{})
	for i, e := range []jetstream.Event{
		{DID: string(did), Seq: 1, Commit: &jetstream.Commit{Operation: jetstream.OpCreate, Collection: "app.example.a", Rkey: "self", Rev: "3mdtsyunhbu22", RecordCBOR: record}},
		{DID: string(did), Seq: 2, Commit: &jetstream.Commit{Operation: jetstream.OpDelete, Collection: "app.example.a", Rkey: "self", Rev: "3mdtsyunhbu22"}},
		{DID: string(did), Seq: 3, Account: &jetstream.Account{Status: "takendown", Time: "2026-07-01T00:00:00Z"}},
		{DID: string(did), Seq: 4, Account: &jetstream.Account{Status: "a reason yet to be invented"}, TimeUS: 44},
		{DID: string(did), Seq: 5, Account: &jetstream.Account{Active: true, Status: "deleted"}},
		{DID: string(did), Seq: 6, Sync: &jetstream.Sync{Rev: "3mdtsyunhbu22"}},
		{DID: string(did), Seq: 7, Identity: &jetstream.Identity{}, TimeUS: 77},
	} {
		if err := b.add(&e, x); err != nil {
			t.Fatalf("event %d: %v", i, err)
		}
	}
	clear(record)
	clear(did)
	if b.seen != 7 || b.Seq != 7 || b.TimeUS != 77 || len(b.Events) != 6 {
		t.Fatalf("%+v", b)
	}
	for i, want := range []db.Event{
		{Op: db.OpCreate}, {Op: db.OpDelete},
		{Op: db.OpAccount, Status: db.StatusTakendown},
		{Op: db.OpAccount, Status: db.StatusInactive},
		{Op: db.OpAccount, Status: db.StatusActive},
		{Op: db.OpSync},
	} {
		got := b.Events[i]
		if got.Op != want.Op || got.Status != want.Status || got.Seq != uint64(i+1) ||
			got.DID != "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa" {
			t.Errorf("event %d is %+v", i+1, got)
		}
	}
	if l := b.Events[0].Links; len(l) != 1 || l[0] != (db.Link{Path: "uri", Target: "https://example.com/a"}) {
		t.Errorf("links: %v", l)
	}
}

// TestBatchBodies: a record that links brings its content, as a copy, and only where it is kept.
func TestBatchBodies(t *testing.T) {
	t.Parallel()
	const linking, other = "\xa2\x65$typekapp.example\x63urix\x15https://example.com/a", "\xa1\x65$typekapp.example"
	for _, bodies := range []bool{false, true} {
		record := []byte(linking)
		b, x := &batch{bodies: bodies}, extract.New(extract.Limits{})
		for i, content := range [][]byte{record, []byte(other), nil} {
			e := jetstream.Event{DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Seq: uint64(i), Commit: &jetstream.Commit{Operation: jetstream.OpCreate,
				Collection: "app.example.a", Rkey: "self", Rev: "3mdtsyunhbu22", CID: "bafy", RecordCBOR: content}}
			_ = b.add(&e, x)
		}
		clear(record)
		want := ""
		if bodies {
			want = linking
		}
		if got := b.Events[0]; string(got.Body) != want || (got.CID != "") != bodies {
			t.Errorf("bodies %t: %q %q", bodies, got.CID, got.Body)
		}
		for _, e := range b.Events[1:] {
			if e.Body != nil || e.CID != "" {
				t.Errorf("bodies %t: %q %q of a record that links to nothing", bodies, e.CID, e.Body)
			}
		}
	}
}

// TestBatchMalformed: a record that can't be read is one without links, and what stands beside it stays.
func TestBatchMalformed(t *testing.T) {
	t.Parallel()
	for name, record := range map[string]string{
		"nothing": "", "not an object": "\x63abc", "cut short": "\xa1\x63uri", "trailing bytes": "\xa0\xa0",
		"a length that lies": "\x7b\xff\xff\xff\xff\xff\xff\xff\xff", "nested a million deep": strings.Repeat("\x81", 1_000_000),
	} {
		b, x := &batch{}, extract.New(extract.Limits{})
		e := jetstream.Event{DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Seq: 1, Commit: &jetstream.Commit{Operation: jetstream.OpUpdate,
			Collection: "app.example.a", Rkey: "self", RecordCBOR: []byte(record)}}
		if err := b.add(&e, x); err == nil {
			t.Errorf("%s: no error", name)
		}
		if len(b.Events) != 1 || len(b.Events[0].Links) != 0 || b.Events[0].Op != db.OpUpdate {
			t.Errorf("%s: %+v", name, b.Events)
		}
	}
	b := &batch{}
	if err := b.add(&jetstream.Event{Seq: 9, Commit: &jetstream.Commit{Operation: "squash"}}, nil); err == nil || len(b.Events) != 0 || b.Seq != 9 {
		t.Errorf("an unknown operation: %v, %+v", err, b)
	}
}

// TestBounded: a kind of message is logged once in ten seconds, and says how many were left out.
func TestBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		log := newBounded(slog.New(slog.NewTextHandler(&out, nil)), time.Now)
		for range 100 {
			log.warn("a", "message a")
			time.Sleep(time.Second)
		}
		log.warn("b", "message b")
		if n := strings.Count(out.String(), "message a"); n != 10 {
			t.Errorf("logged %d times in 100 seconds, want 10", n)
		}
		if !strings.Contains(out.String(), "more_since_last=9") || !strings.Contains(out.String(), "message b") {
			t.Errorf("the log is %s", out.String())
		}
	})
}

// TestHostSpelling: a host has one cursor, however the operator writes it.
func TestHostSpelling(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"jetstream.example":           "https://jetstream.example",
		"https://jetstream.example/":  "https://jetstream.example",
		" wss://Jetstream.Example// ": "https://jetstream.example",
		"jetstream.example:8443":      "https://jetstream.example:8443",
		"localhost:8080":              "http://localhost:8080",
		"ws://127.0.0.1:8080":         "http://127.0.0.1:8080",
		"127.0.0.1:8080":              "http://127.0.0.1:8080",
		"[::1]:8080":                  "http://[::1]:8080",
	} {
		if got := baseURL(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
