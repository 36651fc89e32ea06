package index

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
)

// madeRows makes n log rows after a row, each with up to links links.
func madeRows(r *rand.Rand, after uint64, n, links int) (rows []logrow.Row, of []logrow.LinkRow) {
	for i := range n {
		seq := after + 1 + uint64(i)
		row := logrow.Row{Seq: seq, TimeUS: int64(r.IntN(1000)), Op: logrow.OpCreate, Actor: r.Uint64N(9), Collection: 1,
			Rkey: codec.AppendRkey(nil, fmt.Sprint("key", r.IntN(9))), Rev: r.Uint64N(9), OutOfOrder: r.IntN(2) == 0}
		if r.IntN(4) == 0 {
			row = logrow.Row{Seq: seq, TimeUS: row.TimeUS, Op: logrow.OpAccount, Actor: row.Actor, Status: uint8(r.IntN(6))}
		}
		rows = append(rows, row)
		if row.Rkey == nil {
			continue
		}
		removed := r.IntN(links + 1)
		for j := range removed + r.IntN(links+1-removed) {
			l := logrow.LinkRow{ID: seq<<logrow.LinkShift + uint64(j), Op: codec.Linked, Source: r.Uint64N(5),
				Target: []byte(fmt.Sprint("target", r.IntN(9))), Rank: int64(r.IntN(9)) - 1}
			if j < removed {
				l.Op = codec.Unlinked
			}
			of = append(of, l)
		}
	}
	return rows, of
}

// TestLogTail compares what a tail has with the rows that it got. It never has a part of what is asked for, copies what
// it keeps, and keeps the newest rows within its bound.
func TestLogTail(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 3))
			var tail LogTail
			var all []logrow.Logged // row i has the number i+1
			var pruned, gap uint64
			links, most := []int{1, 3, 300, 4000}[seed%4], []int{30, 500, 10, 5}[seed%4]
			for range 40 {
				if _, ok := tail.rows(uint64(len(all)), uint64(len(all)+1)); ok {
					t.Fatal("it has a row that it did not get")
				}
				rows, of := madeRows(r, uint64(len(all)), 1+r.IntN(most), links)
				if r.IntN(20) == 0 { // rows that it doesn't get
					gap = uint64(len(all) + len(rows))
				} else {
					tail.Append(rows, of)
				}
				all = append(all, logged(rows, of)...)
				for i := range rows { // the caller reuses them
					clear(rows[i].Rkey)
				}
				for i := range of {
					clear(of[i].Target)
				}
				if r.IntN(10) == 0 {
					pruned = r.Uint64N(uint64(len(all)))
					tail.Prune(pruned)
				}
				for range 5 {
					compareTail(t, &tail, all, pruned, gap, r)
				}
			}
		})
	}
}

// logged returns copies of rows as the database has them.
func logged(rows []logrow.Row, of []logrow.LinkRow) (all []logrow.Logged) {
	for _, row := range rows {
		status := row.StatusColumn()
		row.OutOfOrder = false
		row.Status = status
		row.Rkey = bytes.Clone(row.Rkey)
		l := logrow.Logged{Row: row}
		for ; len(of) > 0 && of[0].ID>>logrow.LinkShift == row.Seq; of = of[1:] {
			link := of[0].RecordLink(row.Rkey)
			link.Target = bytes.Clone(link.Target)
			if of[0].Op == codec.Linked {
				l.Added = append(l.Added, link)
			} else {
				l.Removed = append(l.Removed, link)
			}
		}
		all = append(all, l)
	}
	return all
}

func compareTail(t *testing.T, tail *LogTail, all []logrow.Logged, pruned, gap uint64, r *rand.Rand) {
	t.Helper()
	to := 1 + r.Uint64N(uint64(len(all)))
	after := to - 1 - min(to-1, r.Uint64N(60))
	us, ok := tail.newestTime(after, to)
	found, has := tail.rows(after, to)
	if ok != has {
		t.Fatalf("rows %d to %d: times %t, rows %t", after+1, to, ok, has)
	}
	if !ok {
		kept := 0
		for _, l := range all[after:] {
			kept += tailRowBytes + len(l.Rkey)
			for _, links := range [][]codec.RecordLink{l.Removed, l.Added} {
				for _, link := range links {
					kept += tailLinkBytes + len(link.Target)
				}
			}
		}
		// The rows of a commit go together.
		if after >= max(pruned, gap) && kept < tailBytes/4 {
			t.Fatalf("rows %d to %d of %d are not in memory, with %d bytes after them", after+1, to, len(all), kept)
		}
		return
	}
	if after < pruned {
		t.Fatalf("row %d is in memory, and %d is the first", after+1, pruned+1)
	}
	var newest int64
	for _, l := range all[after:to] {
		newest = max(newest, l.TimeUS)
	}
	if us != newest {
		t.Fatalf("rows %d to %d: the newest time is %d, want %d", after+1, to, us, newest)
	}
	links := 0
	for i, l := range found {
		want := all[after+uint64(i)]
		if !reflect.DeepEqual(l.Row, want.Row) || !sameLinks(l.Removed, want.Removed) || !sameLinks(l.Added, want.Added) {
			t.Fatalf("row %d is %.200s, want %.200s", want.Seq, fmt.Sprintf("%+v", l), fmt.Sprintf("%+v", want))
		}
		if n := len(want.Removed) + len(want.Added); n > 0 && links >= logrow.ReadLinks {
			t.Fatalf("row %d is read after %d links", want.Seq, links)
		}
		links += len(want.Removed) + len(want.Added)
	}
	if uint64(len(found)) < to-after && links < logrow.ReadLinks {
		t.Fatalf("%d rows after %d with %d links", len(found), after, links)
	}
}

func sameLinks(a, b []codec.RecordLink) bool { return len(a)+len(b) == 0 || reflect.DeepEqual(a, b) }

// TestLogTailOfSmallCommits: the number of parts is bounded, and with it the cost of a commit.
func TestLogTailOfSmallCommits(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 4))
	var tail LogTail
	for seq := range uint64(60_000) {
		tail.Append(madeRows(r, seq, 1, 1))
		if parts := len(*tail.parts.Load()); parts > 100 {
			t.Fatalf("%d parts after %d commits", parts, seq+1)
		}
	}
	if _, ok := tail.rows(50_000, 60_000); !ok {
		t.Error("the newest 10,000 rows are not in memory")
	}
}
