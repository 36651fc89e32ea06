package db_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/check"
)

// errInjected is what a failpoint answers in TestTogether.
var errInjected = errors.New("an injected fault")

// together is a store that fails at random failpoints and is opened again, and an upstream that goes on from its
// cursor.
type together struct {
	*flapping
	t      *testing.T
	cfg    db.Config
	s      *db.Store
	clock  atomic.Int64
	failIn atomic.Int64 // failpoints until one fails; below 1: none does
	faults int
	events []apply.Event // all that the upstream has, as an extractor sends them now
	respel bool          // the links are those of the present rules
}

func newTogether(t *testing.T, seed uint64) *together {
	tg := &together{t: t, flapping: newFlapping(seed)}
	tg.old = true
	tg.clock.Store(1_770_000_000)
	tg.cfg = db.Config{Dir: t.TempDir(), JobRecords: 1 + int(seed%4), JobRest: -1, ShortList: 2, SetsOver: 2,
		Bodies:     db.Bodies(seed % 3),
		SealBytes:  32 << 10,
		CacheBytes: 1 << 16, Now: func() time.Time { return time.Unix(tg.clock.Load(), 0) },
		Failpoint: func(string) error {
			if tg.failIn.Add(-1) == 0 {
				return errInjected
			}
			return nil
		}}
	if seed%2 == 1 {
		tg.cfg.ReplayWindow = 5 * time.Minute
	}
	return tg
}

// reopen closes the store and opens it again; every other time all of it is checked, and where the log is whole a
// segment is lost.
func (tg *together) reopen() {
	tg.t.Helper()
	tg.failIn.Store(0)
	if tg.s != nil {
		if err := tg.s.Close(); err != nil {
			tg.t.Fatal(err)
		}
		if tg.r.IntN(2) == 0 {
			if r, err := check.Run(tg.t.Context(), tg.cfg.Dir, check.Options{All: true}); err != nil || r.Total > 0 {
				tg.t.Fatalf("checked after %d events: %v, %+v", len(tg.events), err, r)
			}
			if files := segmentFiles(tg.t, tg.cfg.Dir); tg.cfg.ReplayWindow == 0 && len(files) > 0 {
				if err := os.Remove(filepath.Join(tg.cfg.Dir, "segments", pick(tg.r, files...))); err != nil {
					tg.t.Fatal(err)
				}
			}
		}
	}
	tg.s = openWith(tg.t, tg.cfg)
}

// catchUp gives the store the upstream's events from its cursor on, now and then from before it, until it has all.
func (tg *together) catchUp() {
	tg.t.Helper()
	for {
		cursor := tg.s.Cursor("test")
		if cursor == tg.events[len(tg.events)-1].Seq {
			return
		}
		if tg.r.IntN(3) == 0 {
			cursor -= min(cursor, uint64(tg.r.IntN(30)))
		}
		i, _ := slices.BinarySearchFunc(tg.events, cursor+1,
			func(e apply.Event, seq uint64) int { return int(int64(e.Seq) - int64(seq)) })
		batch := slices.Clone(tg.events[i:min(len(tg.events), i+1+tg.r.IntN(60))])
		if tg.respel {
			batch = respelled(batch)
		}
		if tg.r.IntN(3) == 0 {
			tg.failIn.Store(int64(1 + tg.r.IntN(12)))
		}
		_, err := tg.s.Apply(db.Batch{Host: "test", Events: batch})
		if err == nil && tg.r.IntN(3) == 0 {
			err = tg.s.PruneTick()
		}
		switch {
		case err == nil && tg.s.Failed() == nil:
		case errors.Is(err, errInjected) || errors.Is(tg.s.Failed(), errInjected):
			tg.faults++
			tg.reopen()
		default:
			tg.t.Fatal(err)
		}
		tg.clock.Add(int64(tg.r.IntN(20)))
	}
}

// large is a record of more links than a log row has room for, of the spelling of an older program.
func (tg *together) large(op db.Op, from int) {
	tg.now += 1000
	tg.rev = uint64(tg.now) << 10
	e := tg.event(tg.dids[0], op)
	e.Collection, e.Rkey = "com.example.thing", tg.tid(1_760_000_000_000_999)
	for i := range 4300 {
		if op == db.OpDelete {
			break
		}
		// Every second link is spelled so that it falls together with its neighbour.
		e.Links = append(e.Links, db.Link{Path: "list",
			Target: fmt.Sprintf("https://example.com%s/%d", []string{"", ":443"}[i%2], from+i/2)})
	}
	tg.content(&e)
	tg.events = append(tg.events, e)
}

func (tg *together) steps(n int) {
	for range n {
		tg.events = append(tg.events, tg.burst()...)
		if tg.r.IntN(5) == 0 {
			tg.events = append(tg.events, tg.fill(3)...)
		}
		for range tg.r.IntN(8) {
			tg.events = append(tg.events, tg.next()...)
		}
		tg.catchUp()
	}
}

// same compares the store with the model of the present spellings, and checks all of it.
func (tg *together) same(what string) {
	tg.t.Helper()
	tg.failIn.Store(0)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if tg.s.Failed() != nil { // a worker has met the last failpoint
			tg.reopen()
		}
		st, err := tg.s.Stats(tg.t.Context())
		if err != nil || time.Now().After(deadline) {
			tg.t.Fatalf("%s: %v, %d jobs, respelling: %v", what, err, st.Jobs, tg.s.Respelling())
		}
		if st.Jobs == 0 && !tg.s.Respelling() {
			break
		}
	}
	m := modelOf(respelled(tg.events))
	if err := m.Compare(tg.t.Context(), tg.s, sampled(100)); err != nil {
		tg.t.Fatalf("%s, %d events, %d faults: %v", what, len(tg.events), tg.faults, err)
	}
	f := follow(tg.t, db.FollowerConfig{Dir: tg.cfg.Dir, CacheBytes: 1 << 16})
	if err := m.Compare(tg.t.Context(), f, sampled(100)); err != nil {
		tg.t.Fatalf("%s, a follower: %v", what, err)
	}
}

// TestTogether has at once what other tests have apart: accounts that change their status again and again, resyncs,
// records of more links than a log row has room for, links that are respelled, a log that is pruned or segments that
// are lost, faults at any failpoint, and an upstream that goes on from the cursor of the last part of a batch that was
// committed.
func TestTogether(t *testing.T) {
	t.Parallel()
	for seed := range seeds(2) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			tg := newTogether(t, seed)
			tg.reopen()
			tg.events = append(tg.events, tg.fill(10)...)
			tg.large(db.OpCreate, 0)
			tg.steps(15 / fraction(1))
			tg.large(db.OpUpdate, 1000)
			tg.steps(15 / fraction(1))
			if err := tg.s.Close(); err != nil {
				t.Fatal(err)
			}
			madeByOldRules(t, tg.cfg.Dir)
			tg.s, tg.respel = nil, true
			tg.reopen()
			tg.steps(10 / fraction(1))
			tg.same("respelled")
			tg.large(db.OpDelete, 0)
			tg.steps(10 / fraction(1))
			tg.same("at the end")
			tg.reopen()
			tg.same("opened again")
			if tg.faults == 0 {
				t.Error("no failpoint was met")
			}
			if err := tg.s.Close(); err != nil {
				t.Fatal(err)
			}
			if r, err := check.Run(t.Context(), tg.cfg.Dir, check.Options{All: true}); err != nil || r.Total > 0 {
				t.Errorf("checked: %v, %+v", err, r)
			}
		})
	}
}
