package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluesky-social/jetstream/segment"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/ingest/extract"
	"weft.dev/weft/ingest/upstream"
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

// TestQueueTimes: a batch is taken when it is full or old enough. A pause of the reader hurries it.
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
		{"flushed before a pause", func(t *testing.T, q *queue) {
			put(t, q, 1)
			time.Sleep(50 * time.Millisecond)
			q.flush()
		}, 50 * time.Millisecond, 1},
		{"gathered", func(t *testing.T, q *queue) {
			q.flush()
			time.Sleep(50 * time.Millisecond)
			put(t, q, 3)
		}, 50*time.Millisecond + gatheredAge, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q := newQueue(10, 200*time.Millisecond)
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

// TestQueueBackPressure: the reader waits when four batches are queued, until one is taken.
func TestQueueBackPressure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(10, time.Second)
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

// TestQueueBytes: large records fill a batch and make the reader wait, as many events do.
func TestQueueBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1000, time.Hour)
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
		b := q.take(t.Context()) // long before it is old enough
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

// TestQueueDrains: drained waits for the commit, not only for an empty queue. After the end of the context the queued
// batches are still taken.
func TestQueueDrains(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(10, time.Second)
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

// TestBatchTakesOver: a batch doesn't change when the reader reuses its buffers.
func TestBatchTakesOver(t *testing.T) {
	t.Parallel()
	record := []byte("\xa2\x65$typekapp.example\x63urix\x15https://example.com/a") // {"$type": "app.example", "uri": …}
	text := []byte(`{"$type":"app.example","uri":"https://example.com/a"}`)
	did := []byte("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
	b, x := &batch{}, extract.New(extract.Limits{})
	row := func(seq uint64, kind segment.Kind, payload []byte) upstream.Event {
		var e upstream.Event
		if err := e.ReadRow(&segment.Event{Seq: seq, WitnessedAt: int64(seq) * 11, Kind: kind, DID: string(did),
			Collection: "app.example.a",
			Rkey:       "self", Rev: "3mdtsyunhbu22", Payload: payload}); err != nil {
			t.Fatal(err)
		}
		return e
	}
	frame := func(kind, text string) upstream.Event {
		var e upstream.Event
		if err := e.ReadFrame(kind, []byte(text)); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return e
	}
	live := upstream.Event{Pos: 2, TimeUS: 22, DID: string(did), Op: db.OpUpdate, Collection: "app.example.a",
		Rkey: "self", Rev: "3mdtsyunhbu22", JSON: text}
	for _, e := range []upstream.Event{
		row(1, segment.KindCreate, record), live, row(3, segment.KindDelete, nil),
		frame(upstream.KindV2,
			`{"$type":"message","payload":{"$type":"network.bsky.jetstream.subscribeEvents#account","seq":4,"did":"`+string(did)+
				`","time":"2026-07-01T00:00:00Z","account":{"active":false,"status":"takendown"}}}`),
		frame(upstream.KindV1, `{"did":"`+string(did)+
			`","time_us":5,"kind":"account","account":{"active":false,"status":"a reason yet to be invented"}}`),
		frame(upstream.KindV1, `{"did":"`+string(did)+
			`","time_us":999,"cursor":6,"kind":"account","account":{"active":true,"status":"deleted"}}`),
		frame(upstream.KindV2,
			`{"$type":"message","payload":{"$type":"network.bsky.jetstream.subscribeEvents#sync","seq":7,"did":"`+string(did)+
				`","time":"2026-07-01T00:00:00Z","sync":{"rev":"3mdtsyunhbu22"}}}`),
		row(8, segment.KindIdentity, nil),
	} {
		if err := b.add(&e, x, nil); err != nil {
			t.Fatalf("event %d: %v", e.Pos, err)
		}
	}
	clear(record)
	clear(text)
	clear(did)
	if b.seen != 8 || b.Seq != 8 || b.TimeUS != 88 || len(b.Events) != 7 {
		t.Fatalf("%+v", b)
	}
	for i, want := range []apply.Event{
		{Op: db.OpCreate}, {Op: db.OpUpdate}, {Op: db.OpDelete},
		{Op: db.OpAccount, Status: db.StatusTakendown},
		{Op: db.OpAccount, Status: db.StatusInactive},
		{Op: db.OpAccount, Status: db.StatusActive},
		{Op: db.OpSync, Rev: "3mdtsyunhbu22"},
	} {
		got := b.Events[i]
		if got.Op != want.Op || got.Status != want.Status || got.Seq != uint64(i+1) ||
			got.DID != "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa" {
			t.Errorf("event %d is %+v", i+1, got)
		}
	}
	for _, e := range b.Events[:2] {
		if l := e.Links; len(l) != 1 || l[0] != (db.Link{Path: "uri", Target: "https://example.com/a"}) {
			t.Errorf("links: %v", l)
		}
	}
}

// TestBatchBodies: a record with links has its content, as a copy, if the store keeps it.
func TestBatchBodies(t *testing.T) {
	t.Parallel()
	const linking, other = "\xa2\x63uri\x75https://example.com/a\x65$typekapp.example", "\xa1\x65$typekapp.example"
	for _, mode := range [][2]bool{{false, false}, {true, false}, {true, true}} {
		bodies, fromJSON := mode[0], mode[1]
		record := []byte(linking)
		b, x := &batch{bodies: bodies}, extract.New(extract.Limits{})
		for i, content := range [][]byte{record, []byte(other), nil} {
			e := upstream.Event{DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Pos: uint64(i), Op: db.OpCreate,
				Collection: "app.example.a", Rkey: "self", Rev: "3mdtsyunhbu22", CID: "bafy", CBOR: content}
			if i == 0 && fromJSON {
				e.CBOR, e.JSON = nil, []byte(`{"uri":"https://example.com/a","$type":"app.example"}`)
			}
			_ = b.add(&e, x, nil)
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

// TestBatchMalformed: an unreadable record has no links, and other records of the batch keep theirs.
func TestBatchMalformed(t *testing.T) {
	t.Parallel()
	for name, record := range map[string]string{
		"nothing": "", "not an object": "\x63abc", "cut short": "\xa1\x63uri", "trailing bytes": "\xa0\xa0",
		"a length that lies":    "\x7b\xff\xff\xff\xff\xff\xff\xff\xff",
		"nested a million deep": strings.Repeat("\x81", 1_000_000),
	} {
		b, x := &batch{}, extract.New(extract.Limits{})
		e := upstream.Event{DID: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", Pos: 1, Op: db.OpUpdate, Collection: "app.example.a",
			Rkey: "self", CBOR: []byte(record)}
		if err := b.add(&e, x, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
		if len(b.Events) != 1 || len(b.Events[0].Links) != 0 || b.Events[0].Op != db.OpUpdate {
			t.Errorf("%s: %+v", name, b.Events)
		}
	}
}

// TestQueueLinks: links fill a batch and make the reader wait, as text does.
func TestQueueLinks(t *testing.T) {
	t.Parallel()
	var record strings.Builder
	record.WriteString(`{"a":[""`)
	for i := range 1000 {
		fmt.Fprintf(&record, `,"a:%x"`, i)
	}
	record.WriteString(`]}`)
	q := newQueue(1000, time.Hour)
	x, n := extract.New(extract.Limits{}), 0
	add := func() {
		n++
		e := upstream.Event{DID: "did:web:a", Pos: uint64(n), Op: db.OpCreate, Collection: "app.example.a", Rkey: "self",
			JSON: []byte(record.String())}
		if err := q.add(t.Context(), func(b *batch) { _ = b.add(&e, x, nil) }); err != nil {
			t.Fatal(err)
		}
	}
	for !q.isFull() {
		if add(); n > 100 {
			t.Fatal("the reader goes on")
		}
	}
	b := q.take(t.Context()) // long before it is old enough
	if b == nil || b.seen != n || b.cost() > ahead*batchBytes+1000*300 || b.text.size > n*10_000 {
		t.Fatalf("a batch of %d events of %d costs %d, with %d bytes of text", b.seen, n, b.cost(), b.text.size)
	}
	q.done(b)
	if cap(b.links) > 2*keepLinks {
		t.Errorf("memory for %d links is kept", cap(b.links))
	}
	// A full batch also waits for free bytes.
	for range ahead - 1 {
		full := &batch{seen: 1}
		full.links = make([]db.Link, 2*keepLinks)
		if err := q.push(t.Context(), full); err != nil {
			t.Fatal(err)
		}
		if q.cost >= ahead*batchBytes {
			break
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.push(ended, &batch{seen: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("a batch is queued behind %d bytes: %v", q.cost, err)
	}
	if !q.isFull() {
		t.Errorf("the reader waits behind %d bytes in %d batches, and the queue is not full", q.cost, len(q.ready))
	}
	for range 2 {
		b := q.take(t.Context())
		q.done(b)
	}
	if q.cost != 0 {
		t.Errorf("%d bytes are left", q.cost)
	}
}

// TestBounded: a kind of message is logged once in ten seconds, with the number of suppressed ones.
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

// TestLastCommit: an event that a session queues after ctx has ended is committed by the same Run, not by the next one,
// which may have another slice.
func TestLastCommit(t *testing.T) {
	t.Parallel()
	s, err := db.Open(db.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := New(Config{Hosts: []upstream.Endpoint{{URL: "http://127.0.0.1:1"}}, Store: s})
	in.queue.follow(in.hosts[0].URL, upstream.KindV2)
	ctx, cancel := context.WithCancel(t.Context())
	sessions, ended := context.WithCancel(t.Context())
	defer ended()
	cancel()
	done := make(chan error, 1)
	go func() { done <- in.commit(ctx, sessions) }()
	err = in.queue.add(t.Context(), func(b *batch) {
		b.seen++
		b.Seq = 7
		b.TimeUS = time.Now().UnixMicro()
	})
	if err != nil {
		t.Fatal(err)
	}
	ended()
	err = <-done
	if err != nil || in.queue.depth() != 0 || s.Cursor(in.hosts[0].URL) != 7 {
		t.Errorf("%v; %d events are queued, the cursor is %d", err, in.queue.depth(), s.Cursor(in.hosts[0].URL))
	}
}
