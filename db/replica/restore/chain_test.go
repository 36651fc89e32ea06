package restore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/superfly/ltx"
)

// at is a moment of a plan's test, a second for each transaction.
func at(txid ltx.TXID) time.Time { return time.Unix(1_770_000_000+int64(txid), 0).UTC() }

func ltxOf(level int, from, to ltx.TXID) File {
	return File{Level: level, Min: from, Max: to, Bytes: int64(to - from + 1), Time: at(to)}
}

func TestChain(t *testing.T) {
	t.Parallel()
	usual := []File{ltxOf(0, 9, 9), ltxOf(0, 10, 10), ltxOf(0, 11, 11), ltxOf(1, 5, 8), ltxOf(1, 9, 10), ltxOf(2, 1, 8),
		ltxOf(9, 1, 4), ltxOf(9, 1, 7)}
	for _, tc := range []struct {
		name   string
		files  []File
		target Target
		want   string // the files, or what is in the error
	}{
		{"the newest", usual, Target{}, "2:1-8 1:9-10 0:11-11"},
		{"a transaction", usual, Target{TXID: 9}, "2:1-8 0:9-9"},
		{"a snapshot's", usual, Target{TXID: 7}, "9:1-7"},
		{"a moment", usual, Target{Time: at(11)}, "2:1-8 1:9-10"},
		{"a moment between two", usual, Target{Time: at(10).Add(time.Millisecond)}, "2:1-8 1:9-10"},
		{"a moment after all", usual, Target{Time: at(99)}, "2:1-8 1:9-10 0:11-11"},
		{"a merged transaction", usual, Target{TXID: 6}, "cannot restore exactly transaction 0000000000000006"},
		{"a transaction to come", usual, Target{TXID: 12}, "cannot restore exactly transaction 000000000000000c"},
		{"a moment before all", usual, Target{Time: at(4)}, "nothing before 2026-02-02T02:40:04.000Z"},
		{"nothing", nil, Target{}, ErrEmpty.Error()},
		{"a gap", []File{ltxOf(9, 1, 4), ltxOf(0, 5, 5), ltxOf(0, 8, 8)}, Target{},
			"transactions 0000000000000006 to 0000000000000007, between 2026-02-02T02:40:05.000Z and 2026-02-02T02:40:08.000Z"},
		{"a gap on the way to a transaction", []File{ltxOf(9, 1, 4), ltxOf(0, 6, 6), ltxOf(0, 7, 7)}, Target{TXID: 6},
			"transactions 0000000000000005 to 0000000000000005"},
		{"a gap behind the target", []File{ltxOf(9, 1, 4), ltxOf(0, 6, 6)}, Target{TXID: 4}, "9:1-4"},
		{"no snapshot", []File{ltxOf(0, 5, 5), ltxOf(0, 6, 6)}, Target{},
			"transactions 0000000000000001 to 0000000000000004, before 2026-02-02T02:40:05.000Z: nothing can be restored"},
		{"of two that lead as far, the smaller", []File{{Level: 9, Min: 1, Max: 3, Bytes: 90},
			{Level: 3, Min: 1, Max: 3, Bytes: 80}}, Target{}, "3:1-3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			picked, err := Chain(tc.files, tc.target)
			if err != nil {
				if !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v", err)
				}
				return
			}
			if got := names(picked); got != tc.want {
				t.Errorf("picked %s", got)
			}
		})
	}
}

func names(files []File) string {
	var all []string
	for _, f := range files {
		all = append(all, fmt.Sprintf("%d:%d-%d", f.Level, f.Min, f.Max))
	}
	return strings.Join(all, " ")
}

// fewest is the smallest number of files that lead to each transaction, by trying everything.
func fewest(files []File, t Target) map[ltx.TXID]int {
	least := map[ltx.TXID]int{0: 0}
	for more := true; more; {
		more = false
		for _, f := range files {
			for reach, n := range least {
				if !t.allows(f) || f.Min > reach+1 || f.Max <= reach {
					continue
				}
				if have, ok := least[f.Max]; !ok || have > n+1 {
					least[f.Max], more = n+1, true
				}
			}
		}
	}
	return least
}

// TestChainFewest: over random files, each transaction that can be reached is reached with the fewest files, no other
// is, and the spans are what can be reached.
func TestChainFewest(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		var files []File
		for range r.IntN(12) {
			from := ltx.TXID(1 + r.IntN(12))
			if r.IntN(3) == 0 {
				from = 1
			}
			files = append(files, ltxOf(r.IntN(10), from, from+ltx.TXID(r.IntN(5))))
		}
		points := map[ltx.TXID]bool{}
		for txid := ltx.TXID(1); txid < 18; txid++ {
			want, can := fewest(files, Target{TXID: txid})[txid]
			picked, err := Chain(files, Target{TXID: txid})
			if can != (err == nil) || can && len(picked) != want {
				t.Fatalf("%s to %d: %s, %v, and %d files are enough", names(files), txid, names(picked), err, want)
			}
			if points[txid] = can; can {
				continue
			}
			var gap *GapError
			var point *PointError
			if len(files) > 0 && !errors.As(err, &gap) && !errors.As(err, &point) {
				t.Fatalf("%s to %d: %v", names(files), txid, err)
			}
		}
		inSpans := 0
		for _, s := range Spans(files) {
			if !points[s.From] || !points[s.To] {
				t.Fatalf("%s: span %v", names(files), s)
			}
			inSpans += s.Points
		}
		n := 0
		for _, can := range points {
			if can {
				n++
			}
		}
		if n != inSpans {
			t.Fatalf("%s: %d can be reached, and the spans %v have %d", names(files), n, Spans(files), inSpans)
		}
	}
}
