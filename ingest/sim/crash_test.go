package sim

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestReorderAndRedeliver(t *testing.T) {
	t.Parallel()
	nc := NetworkConfig{Seed: 41, Accounts: 50, Churn: 5}
	const total = 3000
	want := NewNetwork(nc).Events(total)
	tests := map[string]struct {
		faults Faults
		extra  int
	}{
		"reorder":   {Faults{Reorder: 40}, 0},
		"redeliver": {Faults{RedeliverEvery: 30}, 100},
		"both":      {Faults{Reorder: 40, RedeliverEvery: 30}, 100},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testServer(t, ServerConfig{NetworkConfig: nc, Faults: tt.faults, EventsPerSegment: 1000})
			s.Emit(total)
			got := logged(t, s)
			if len(got) != total+tt.extra {
				t.Fatalf("%d events in the log", len(got))
			}
			moved := 0
			for i, e := range got {
				if e.Seq != uint64(i)+1 || i > 0 && e.TimeUS < got[i-1].TimeUS {
					t.Fatalf("place %d: seq %d at %d", i, e.Seq, e.TimeUS)
				}
				if i < total && e.DID != want[i].DID {
					moved++
				}
			}
			if moved < total/2 {
				t.Errorf("only %d events elsewhere", moved)
			}
			expectSame(t, perAccount(got), perAccount(want))
		})
	}
}

// perAccount returns the events by account, without seqs, times and repeats: the part that may not change.
func perAccount(events []Event) []Event {
	out := slices.Clone(events)
	for i := range out {
		out[i].Seq, out[i].TimeUS = 0, 0
	}
	slices.SortStableFunc(out, func(a, b Event) int { return strings.Compare(a.DID, b.DID) })
	return slices.CompactFunc(out, same)
}

func TestCrash(t *testing.T) {
	t.Parallel()
	for _, redeliver := range []bool{true, false} {
		t.Run("redeliver "+strconv.FormatBool(redeliver), func(t *testing.T) {
			t.Parallel()
			nc := NetworkConfig{Seed: 51, Accounts: 100}
			s := testServer(t, ServerConfig{NetworkConfig: nc, Backlog: 1000})
			s.Emit(500)
			before := logged(t, s)
			c := dial(t, s, xrpc+"subscribeEvents?cursor=1490")
			for range 11 {
				if _, err := c.next(); err != nil {
					t.Fatal(err)
				}
			}
			if lost := s.Crash(200, redeliver); lost != 200 || s.Tip() != 1300 {
				t.Fatalf("lost %d, tip %d", lost, s.Tip())
			}
			if _, err := c.next(); err == nil {
				t.Error("connection outlived the crash")
			}
			s.Emit(300)
			after := logged(t, s)
			if len(after) != 1600 {
				t.Fatalf("%d events", len(after))
			}
			expectSame(t, after[:1300], before[:1300])
			all := NewNetwork(nc).Events(1800)
			if !redeliver {
				want := append(slices.Clone(all[:1300]), all[1500:]...)
				expectSame(t, perAccount(after), perAccount(want))
				return
			}
			expectSame(t, perAccount(after), perAccount(all[:1600]))
			reused := 0
			for i := 1300; i < 1500; i++ {
				if after[i].CID != before[i].CID {
					reused++
				}
			}
			if reused < 100 {
				t.Errorf("%d of 200 seqs name other events now", reused)
			}
		})
	}
	t.Run("only what isn't sealed", func(t *testing.T) {
		t.Parallel()
		s := testServer(t, ServerConfig{Backlog: 100})
		s.Emit(10)
		if lost := s.Crash(50, false); lost != 10 || s.Tip() != 100 {
			t.Errorf("lost %d, tip %d", lost, s.Tip())
		}
	})
}

func TestJumpFuture(t *testing.T) {
	t.Parallel()
	s := testServer(t, ServerConfig{})
	s.Emit(100)
	s.JumpFuture(24 * time.Hour)
	s.Emit(100)
	got := logged(t, s)
	if d := got[100].TimeUS - got[99].TimeUS; d < 86_400_000_000 {
		t.Errorf("the clock went %d µs", d)
	}
	for _, e := range got[100:] {
		if us, ok := parseTID(e.Rev); ok && !e.Resync && e.Rev != got[99].Rev && us < got[99].TimeUS+86_000_000_000 {
			t.Errorf("rev %s is of before", e.Rev)
		}
	}
}

func TestDropAll(t *testing.T) {
	t.Parallel()
	s := testServer(t, ServerConfig{})
	c := dial(t, s, "/subscribe")
	if n := s.DropAll(); n > 1 { // 0: the server has upgraded the connection, but not counted it yet
		t.Fatalf("dropped %d", n)
	}
	if _, err := c.next(); err == nil {
		t.Error("still open")
	}
}
