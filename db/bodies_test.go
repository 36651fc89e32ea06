package db_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/body"
	"weft.dev/weft/db/dbtest"
)

// TestBodiesModes: how bodies are kept changes from start to start, and whatever is given is what the record holds now.
func TestBodiesModes(t *testing.T) {
	t.Parallel()
	for seed := range seeds(6) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(100 + seed)
			var clock atomic.Int64
			clock.Store(1_770_000_000)
			cfg := db.Config{Dir: t.TempDir(), Now: func() time.Time { return time.Unix(clock.Load(), 0) },
				SealBytes: 4 << 10 << (seed % 3), CacheBytes: 1 << 16, ReplayWindow: time.Duration(seed%3) * 5 * time.Minute,
				JobRecords: 2, JobRest: -1}
			var m dbtest.Model
			var sent []apply.Event
			given := 0
			for range 12 {
				cfg.Bodies = pick(h.r, db.BodiesOff, db.BodiesWindow, db.BodiesKeep)
				s := openWith(t, cfg)
				for range 8 / fraction(1) {
					var batch []apply.Event
					if len(sent) > 0 && h.r.IntN(3) == 0 {
						batch = append(batch, sent[h.r.IntN(len(sent)):]...)
					}
					for range h.r.IntN(40) {
						events := h.next()
						batch, sent = append(batch, events...), append(sent, events...)
						for _, e := range events {
							m.Apply(e)
						}
					}
					if _, err := s.Apply(db.Batch{Host: "test", Events: batch}); err != nil {
						t.Fatal(err)
					}
					clock.Add(int64(h.r.IntN(120)))
				}
				untilNoJobs(t, s)
				count := &counted{Store: s}
				if err := m.CompareBodies(t.Context(), count, func(db.Record) bool { return true }); err != nil {
					t.Fatalf("%v: %v", cfg.Bodies, err)
				}
				if cfg.Bodies == db.BodiesOff && count.n > 0 {
					t.Fatalf("%d bodies are given, and none are kept", count.n)
				}
				given += count.n
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if given == 0 {
				t.Error("no body was given")
			}
		})
	}
}

// counted counts the bodies that a store gives.
type counted struct {
	*db.Store
	n int
}

func (c *counted) Bodies(ctx context.Context, records []db.Record) ([]db.Body, error) {
	bodies, err := c.Store.Bodies(ctx, records)
	for _, b := range bodies {
		if b.CID != "" {
			c.n++
		}
	}
	return bodies, err
}

// bodyStore is a store that keeps bodies, fed by hand.
type bodyStore struct {
	*testing.T
	*db.Store
	cfg   db.Config
	clock atomic.Int64
	seq   uint64
	base  *sql.DB
}

func newBodyStore(t *testing.T, cfg db.Config) *bodyStore {
	b := &bodyStore{T: t}
	b.clock.Store(1_770_000_000)
	cfg.Dir, cfg.Now = t.TempDir(), func() time.Time { return time.Unix(b.clock.Load(), 0) }
	b.cfg = cfg
	b.Store = openWith(t, cfg)
	t.Cleanup(func() { _ = b.Store.Close() })
	base, err := sql.Open("sqlite", "file:"+filepath.Join(cfg.Dir, "weft.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = base.Close() })
	b.base = base
	return b
}

// reopen starts again, with bodies kept in this way.
func (b *bodyStore) reopen(mode db.Bodies) {
	b.Helper()
	if err := b.Store.Close(); err != nil {
		b.Fatal(err)
	}
	b.cfg.Bodies = mode
	b.Store = openWith(b.T, b.cfg)
}

// event makes an event about a like of an account; its body says text.
func (b *bodyStore) event(op db.Op, did, rkey, text string) apply.Event {
	b.seq++
	e := apply.Event{Seq: b.seq, TimeUS: 1_770_000_000_000_000 + int64(b.seq), Op: op, DID: did,
		Collection: "app.bsky.feed.like", Rkey: rkey,
		Rev: newHistory(0).tid(1_770_000_000_000_000 + int64(b.seq))}
	if op != db.OpDelete {
		e.Links, e.Body = []db.Link{{Path: "subject.uri", Target: "https://example.com/"}}, []byte(text)
		e.CID = body.Sum(e.Body).CID()
	}
	return e
}

func (b *bodyStore) apply(events ...apply.Event) apply.Counts {
	b.Helper()
	a, err := b.Apply(db.Batch{Host: "test", Events: events})
	if err != nil {
		b.Fatal(err)
	}
	return a
}

// want checks the body of a record; empty: none.
func (b *bodyStore) want(did, rkey, text string) {
	b.Helper()
	got, err := b.Bodies(b.Context(), []db.Record{{DID: did, Collection: "app.bsky.feed.like", Rkey: rkey}})
	if err != nil {
		b.Fatal(err)
	}
	if string(got[0].CBOR) != text || (got[0].CID != "") != (text != "") {
		b.Errorf("%s of %s has the body %q (%s), not %q", rkey, did, got[0].CBOR, got[0].CID, text)
	}
}

// rows checks the number of rows of bodies, of blocks, and of all references to these.
func (b *bodyStore) rows(bodies, blocks, refs int) {
	b.Helper()
	var got [3]int
	if err := b.base.QueryRow("SELECT (SELECT count(*) FROM bodies), count(*), ifnull(sum(refs), 0) FROM blocks").Scan(
		&got[0], &got[1], &got[2]); err != nil {
		b.Fatal(err)
	}
	if want := [3]int{bodies, blocks, refs}; got != want {
		b.Errorf("%v bodies, blocks and references, not %v", got, want)
	}
}

const (
	alice = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	bob   = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
	carol = "did:plc:cccccccccccccccccccccccc"
)

// TestBodies: what a record holds is what its newest event said, and the same content is stored once.
func TestBodies(t *testing.T) {
	t.Parallel()
	b := newBodyStore(t, db.Config{Bodies: db.BodiesKeep})
	first := b.event(db.OpCreate, alice, "a", "one")
	b.apply(first, b.event(db.OpCreate, bob, "b", "one"))
	b.want(alice, "a", "one")
	b.want(bob, "b", "one")
	b.rows(2, 1, 2)
	b.apply(b.event(db.OpCreate, bob, "c", "one"))
	b.rows(3, 1, 3)

	update := b.event(db.OpUpdate, alice, "a", "two")
	if a := b.apply(update); a.Changed != 1 || a.Added+a.Removed != 0 || a.Bodies != 1 {
		t.Errorf("another body alone: %+v", a)
	}
	b.want(alice, "a", "two")
	if a := b.apply(first, update, b.event(db.OpUpdate, alice, "a", "two")); a.Changed != 0 || a.Bodies != 0 {
		t.Errorf("repeats, and an update that changes nothing: %+v", a)
	}
	b.want(alice, "a", "two")

	hide := b.event(db.OpAccount, alice, "", "")
	hide.Status = db.StatusDeactivated
	b.apply(hide)
	b.want(alice, "a", "")
	show := b.event(db.OpAccount, alice, "", "")
	b.apply(show)
	b.want(alice, "a", "two")

	b.apply(b.event(db.OpDelete, alice, "a", ""))
	b.want(alice, "a", "")
	gone := b.event(db.OpAccount, bob, "", "")
	gone.Status = db.StatusDeleted
	b.apply(gone)
	b.rows(2, 2, 2) // what the log rows of alice's brought: the log is whole
	b.want(bob, "b", "")
}

// TestBadBodies: what is not what its CID says is left out and counted, and its links stay.
func TestBadBodies(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name      string
		change    func(e *apply.Event)
		bad, kept int
	}{
		{"another's CID", func(e *apply.Event) { e.CID = body.Sum([]byte("another")).CID() }, 1, 0},
		{"no CID at all", func(e *apply.Event) { e.CID = "bafy" }, 1, 0},
		{"of another kind", func(e *apply.Event) { e.CID = "bafkreias7oxbr6swsuggccmtnqpoeami4jza5x4w3urltn6gzhqf4k6k2e" },
			1, 0},
		{"too large", func(e *apply.Event) { e.Body, e.CID = make([]byte, body.Max+1), "" }, 1, 0},
		{"the largest", func(e *apply.Event) { e.Body, e.CID = make([]byte, body.Max), "" }, 0, 1},
		{"the CID isn't said", func(e *apply.Event) { e.CID = "" }, 0, 1},
		{"the body isn't there", func(e *apply.Event) { e.Body = nil }, 0, 0},
		{"nor is the CID", func(e *apply.Event) { e.Body, e.CID = nil, "" }, 0, 0},
		{"it links to nothing", func(e *apply.Event) { e.Links = nil }, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := newBodyStore(t, db.Config{Bodies: db.BodiesKeep})
			e := b.event(db.OpCreate, alice, "a", "one")
			tc.change(&e)
			if a := b.apply(e); a.BadBodies != tc.bad || a.Bodies != tc.kept || a.Added != len(e.Links) {
				t.Errorf("%+v", a)
			}
			want := ""
			if tc.kept > 0 {
				want = string(e.Body)
			}
			b.want(alice, "a", want)
		})
	}
}

// TestBodiesOff: nothing is kept, whatever comes; and what was kept goes, and never comes back.
func TestBodiesOff(t *testing.T) {
	t.Parallel()
	b := newBodyStore(t, db.Config{})
	b.apply(b.event(db.OpCreate, alice, "a", "one"))
	if a := b.apply(b.event(db.OpUpdate, alice, "a", "two")); a.Changed != 0 {
		t.Errorf("without bodies an update that leaves the links has changed %+v", a)
	}
	b.want(alice, "a", "")
	b.rows(0, 0, 0)
	b.reopen(db.BodiesKeep)
	b.want(alice, "a", "")
	b.apply(b.event(db.OpUpdate, alice, "a", "three"), b.event(db.OpCreate, alice, "b", "four"))
	b.want(alice, "a", "three")
	b.reopen(db.BodiesOff)
	b.want(alice, "a", "")
	b.apply(b.event(db.OpUpdate, alice, "a", "five")) // nobody takes note of it
	b.rows(0, 0, 0)
	b.reopen(db.BodiesWindow)
	b.want(alice, "a", "")
	b.apply(b.event(db.OpUpdate, alice, "b", "four")) // the same as before, and stored again
	b.want(alice, "b", "four")
	b.rows(1, 1, 1)
}

// TestBodiesOffWritesNothing: a store that has never kept bodies writes the log that it always wrote.
func TestBodiesOffWritesNothing(t *testing.T) {
	t.Parallel()
	b := newBodyStore(t, db.Config{})
	for i := range 50 {
		b.apply(b.event(db.OpCreate, alice, fmt.Sprint("r", i), "one"),
			b.event(db.OpUpdate, alice, "r0", fmt.Sprint(i)))
	}
	var n int
	if err := b.base.QueryRow(
		`SELECT (SELECT count(*) FROM bodies) + (SELECT count(*) FROM blocks) + (SELECT count(*) FROM replaced) +
		(SELECT count(*) FROM meta WHERE key LIKE 'bodies%')`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d rows, %v", n, err)
	}
	if a := b.apply(b.event(db.OpDelete, alice, "r0", "")); a.Changed != 1 {
		t.Errorf("%+v", a)
	}
}

// TestBodiesWindow: with the window, bodies go with their log rows, and a repeat brings none back; kept for good, only
// those go that no record has any more.
func TestBodiesWindow(t *testing.T) {
	t.Parallel()
	for _, mode := range []db.Bodies{db.BodiesWindow, db.BodiesKeep} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := newBodyStore(t, db.Config{Bodies: mode, SealBytes: 2 << 10, ReplayWindow: 5 * time.Minute})
			first := b.event(db.OpCreate, carol, "a", "first") // and nothing after it, which would make a repeat stale
			old := b.event(db.OpCreate, alice, "old", "before")
			b.apply(first, old, b.event(db.OpCreate, alice, "gone", "deleted"))
			b.apply(b.event(db.OpUpdate, alice, "old", "after"), b.event(db.OpDelete, alice, "gone", ""))
			// Until these rows are pruned.
			deadline := time.Now().Add(time.Minute)
			for i := 0; ; i++ {
				b.clock.Add(60)
				b.apply(b.event(db.OpCreate, bob, fmt.Sprintf("r%d", i), fmt.Sprint("filler ", i)))
				if oldest, _, err := b.LogRange(t.Context()); err != nil || oldest > 10 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("nothing is pruned")
				}
				time.Sleep(time.Millisecond)
			}
			var bodies string
			if err := b.base.QueryRow("SELECT ifnull(group_concat(seq, ' ' ORDER BY seq), '') FROM bodies WHERE seq <= 5").Scan(
				&bodies); err != nil {
				t.Fatal(err)
			}
			if mode == db.BodiesWindow {
				if bodies != "" {
					t.Errorf("the bodies of the log rows %s are left", bodies)
				}
				b.want(carol, "a", "")
				for _, what := range []string{"a repeat of what has gone",
					"a repeat after a start, which knows of newer events alone"} {
					if a := b.apply(first); a.Changed != 0 {
						t.Errorf("%s: %+v", what, a)
					}
					b.reopen(mode)
				}
				b.want(carol, "a", "")
				b.apply(b.event(db.OpUpdate, carol, "a", "first"))
				b.want(carol, "a", "first")
				return
			}
			if bodies != "1 4" {
				t.Errorf("the bodies of the log rows %s are left, and 1 4 are in use", bodies)
			}
			b.want(carol, "a", "first")
			b.want(alice, "old", "after")
			b.want(alice, "gone", "")
			b.reopen(db.BodiesWindow)
			b.apply(b.event(db.OpCreate, bob, "next", "next"))
			b.want(carol, "a", "") // as it was kept, with the window, it goes
			b.want(bob, "next", "next")
			b.reopen(db.BodiesKeep)
			b.want(carol, "a", "")
			b.want(bob, "next", "next")
		})
	}
}

// TestBodiesRefuses: more bodies than an answer may hold.
func TestBodiesRefuses(t *testing.T) {
	t.Parallel()
	s := openWith(t, db.Config{Dir: t.TempDir(), Bodies: db.BodiesKeep})
	defer s.Close()
	if _, err := s.Bodies(t.Context(), make([]db.Record, db.MaxBodies+1)); err == nil {
		t.Error("asked for too many, and answered")
	}
	if got, err := s.Bodies(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// TestDamagedBody: a block that is not what it was is an error, and no answer.
func TestDamagedBody(t *testing.T) {
	t.Parallel()
	b := newBodyStore(t, db.Config{Bodies: db.BodiesKeep})
	b.apply(b.event(db.OpCreate, alice, "a", "one"), b.event(db.OpCreate, alice, "b", "two"))
	for _, tc := range []struct {
		name  string
		frame []byte
	}{{"another record", body.Encode(nil, []byte("two"))}, {"no frame", []byte("junk")}, {"nothing", nil}} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := b.base.Exec("UPDATE blocks SET body = ? WHERE id = 1",
				bytes.Clone(append([]byte{}, tc.frame...))); err != nil {
				t.Fatal(err)
			}
			got, err := b.Bodies(t.Context(), []db.Record{{DID: alice, Collection: "app.bsky.feed.like", Rkey: "a"}})
			if err == nil {
				t.Errorf("given %q", got[0].CBOR)
			}
		})
	}
	b.want(alice, "b", "two")
}

// TestBodyTriggers: references are never below zero nor to what isn't there, and a block that nobody uses goes at once.
func TestBodyTriggers(t *testing.T) {
	t.Parallel()
	b := newBodyStore(t, db.Config{Bodies: db.BodiesKeep})
	b.apply(b.event(db.OpCreate, alice, "a", "one"), b.event(db.OpCreate, alice, "b", "one"),
		b.event(db.OpCreate, alice, "c", "two"))
	b.rows(3, 2, 3)
	for _, tc := range []struct{ name, statement, want string }{
		{"no block", "INSERT INTO bodies VALUES (99, 77)", "a body without its block"},
		{"a change", "UPDATE bodies SET block = 2 WHERE seq = 1", "a body is never changed"},
		{"below zero", "UPDATE blocks SET refs = refs - 3", "CHECK"},
		{"a short digest", "INSERT INTO blocks (id, digest, body) VALUES (99, x'00', x'00')", "CHECK"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := b.base.Exec(tc.statement); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %s in it", err, tc.want)
			}
			b.rows(3, 2, 3)
		})
	}
	for _, step := range []struct {
		statement            string
		bodies, blocks, refs int
	}{
		{"DELETE FROM bodies WHERE seq = 1", 2, 2, 2},
		{"DELETE FROM bodies WHERE seq = 2", 1, 1, 1},
		{"DELETE FROM bodies WHERE seq = 2", 1, 1, 1},
		{"INSERT INTO bodies VALUES (9, 2), (10, 2)", 3, 1, 3},
		{"DELETE FROM bodies", 0, 0, 0},
	} {
		if _, err := b.base.Exec(step.statement); err != nil {
			t.Fatal(err)
		}
		b.rows(step.bodies, step.blocks, step.refs)
	}
}

// TestRecentBlocks: a block is found again after a restart, and not when it has gone.
func TestRecentBlocks(t *testing.T) {
	t.Parallel()
	b := newBodyStore(t, db.Config{Bodies: db.BodiesKeep})
	var events []apply.Event
	for i := range 200 { // more than a statement carries
		events = append(events, b.event(db.OpCreate, alice, fmt.Sprint("r", i), fmt.Sprint("text: ", i%100)))
	}
	b.apply(events...)
	b.rows(200, 100, 200)
	b.reopen(db.BodiesKeep)
	b.apply(b.event(db.OpCreate, bob, "a", "text: 7"))
	b.rows(201, 100, 201)
	gone := b.event(db.OpAccount, alice, "", "")
	gone.Status = db.StatusDeleted
	b.apply(gone)
	b.rows(1, 1, 1)
	b.apply(b.event(db.OpCreate, bob, "b", "text: 8"), b.event(db.OpCreate, bob, "c", "text: 8"))
	b.rows(3, 2, 3)
	b.want(bob, "b", "text: 8")
}

// TestParseBodies: what is written is read, and nothing else.
func TestParseBodies(t *testing.T) {
	t.Parallel()
	for _, mode := range []db.Bodies{db.BodiesOff, db.BodiesWindow, db.BodiesKeep} {
		if got, err := db.ParseBodies(mode.String()); err != nil || got != mode {
			t.Errorf("%v is read as %v, %v", mode, got, err)
		}
	}
	for _, text := range []string{"", "on", "Keep", "keep "} {
		if got, err := db.ParseBodies(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}
