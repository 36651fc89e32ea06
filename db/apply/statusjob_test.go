package apply

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
)

// TestJobTurns: whatever statuses an account takes while a job goes through its records, one key at a time, what the
// job says of each record is what was done to it, and at the end all records are as the last status has them.
func TestJobTurns(t *testing.T) {
	t.Parallel()
	const records = 12
	key := func(i int) []byte { return fmt.Appendf(nil, "%02d", i) }
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 3))
		var shown, gone [records]bool
		for i := range shown {
			shown[i] = true
		}
		s := NewState(StateConfig{})
		s.jobs[1] = &job{was: true}
		s.status.set(1, logrow.StatusSuspended)
		for range 60 {
			j := s.jobs[1]
			if j == nil {
				break
			}
			for i := range shown {
				want := j.is
				if j.pending(key(i)) {
					want = j.was
				}
				if !gone[i] && shown[i] != want {
					t.Fatalf("seed %d: record %d is shown: %t, and %+v says %t", seed, i, shown[i], *j, want)
				}
				if gone[i] && !j.purged(key(i)) {
					t.Fatalf("seed %d: record %d is gone, and %+v has not come to it", seed, i, *j)
				}
			}
			if status := s.status.of(1); r.IntN(2) == 0 && status != logrow.StatusDeleted {
				if next := pickStatus(r); next != status {
					s.status.set(1, next)
					s.setJob(1, j.turned(next))
				}
				continue
			}
			var left []int
			for i := range shown {
				if j.pending(key(i)) {
					left = append(left, i)
				}
			}
			n := min(1+r.IntN(4), len(left))
			done, upTo := left[:n], []byte(nil)
			if n < len(left) && j.down {
				done, upTo = left[len(left)-n:], key(left[len(left)-n-1])
			} else if n < len(left) {
				upTo = key(left[n-1])
			}
			for _, i := range done {
				gone[i], shown[i] = gone[i] || j.purge, j.is
			}
			s.stepped(1, upTo)
		}
		for s.jobs[1] != nil { // to the end
			for i := range shown {
				if j := s.jobs[1]; j.pending(key(i)) {
					gone[i], shown[i] = gone[i] || j.purge, j.is
				}
			}
			s.stepped(1, nil)
		}
		for i := range shown {
			if status := s.status.of(1); shown[i] != (status == logrow.StatusActive) ||
				gone[i] != (status == logrow.StatusDeleted) {
				t.Fatalf("seed %d: record %d is shown: %t, gone: %t, and the status is %d", seed, i, shown[i], gone[i],
					status)
			}
		}
	}
}

func pickStatus(r *rand.Rand) logrow.Status {
	return []logrow.Status{logrow.StatusActive, logrow.StatusActive, logrow.StatusDeactivated, logrow.StatusTakendown,
		logrow.StatusInactive,
		logrow.StatusDeleted}[r.IntN(6)]
}

// TestSealedJob: a job comes back from the manifest's table as it was; those of an older weft too, which only knew
// purge.
func TestSealedJob(t *testing.T) {
	t.Parallel()
	for _, j := range []job{{}, {purge: true}, {was: true, down: true, after: []byte{1}}, {is: true, down: true},
		{was: true, thenPurge: true}} {
		if bits := j.sealed(); (bits&1 != 0) != j.purge || (bits&2 != 0) != j.down || (bits&4 != 0) != j.thenPurge {
			t.Errorf("%+v is kept as %d", j, bits)
		}
	}
}

// TestStatuses: statuses are what a map holds, and are small.
func TestStatuses(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 4))
	var s statuses
	want := map[uint64]logrow.Status{}
	for i := range 200_000 {
		actor := 1 + r.Uint64N(300_000)
		if i%1000 == 0 {
			actor += 1 << 33 // beyond 32 bits
		}
		status := logrow.Status(r.IntN(int(logrow.StatusInactive) + 1))
		s.set(actor, status)
		want[actor] = status
	}
	s.pack()
	for actor, status := range want {
		if s.of(actor) != status {
			t.Fatalf("account %d has the status %d and should have %d", actor, s.of(actor), status)
		}
	}
	if s.of(0) != logrow.StatusActive || s.of(1<<40) != logrow.StatusActive {
		t.Error("an account that was never set is not active")
	}
	if each := s.bytes() / uint64(len(want)); each > 8 {
		t.Errorf("%d bytes for each account", each)
	}
}

// TestWalkBothWays: a walk over records, some in runs and some in the batch, gives the same down as up.
func TestWalkBothWays(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 5))
	d, want := newDelta(index.EmptySnapshot()), map[string]string{}
	for i := range 400 {
		key, value := codec.RecordKey(nil, 1, 1, codec.AppendRkey(nil, fmt.Sprint("r", r.IntN(120)))), []byte(nil)
		if r.IntN(3) > 0 {
			value = fmt.Appendf(nil, "%d", i)
		}
		d.setRecord(1, key, value, false)
		want[string(key)] = string(value)
		if i == 100 || i == 300 {
			d.pushRuns()
		}
	}
	f := New(nil, nil, index.EmptySnapshot(), Origin{})
	f.d = d
	from, to := codec.AccountRecords(1)
	var up, down [][]byte
	for w := f.walk(1, from, to, false); w.next(); {
		if want[string(w.key)] != string(w.value) {
			t.Errorf("%x has %q and should have %q", w.key, w.value, want[string(w.key)])
		}
		up = append(up, w.key)
	}
	for w := f.walk(1, from, to, true); w.next(); {
		down = append([][]byte{w.key}, down...)
	}
	if d.err != nil || len(up) != len(want) || len(down) != len(up) {
		t.Fatalf("%d keys up and %d down of %d: %v", len(up), len(down), len(want), d.err)
	}
	for i := range up {
		if !bytes.Equal(up[i], down[i]) || i > 0 && bytes.Compare(up[i-1], up[i]) >= 0 {
			t.Errorf("key %d is %x up and %x down", i, up[i], down[i])
		}
	}
}
