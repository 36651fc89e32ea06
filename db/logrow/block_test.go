package logrow

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"testing"

	_ "modernc.org/sqlite"

	"weft.dev/weft/db/codec"
)

// randomRows returns rows of all kinds, the first of them of a number.
func randomRows(r *rand.Rand, first uint64, n int) (rows Rows) {
	us := int64(1_770_000_000_000_000)
	for i := range uint64(n) {
		us += r.Int64N(2_000_000) - 100_000
		row := Row{Seq: first + i, TimeUS: us, Op: Op(1 + r.IntN(11)), Actor: r.Uint64N(1 << 40),
			Status: uint8(r.IntN(256))}
		switch r.IntN(4) {
		case 0:
			row.Rev = uint64(us)<<10 - r.Uint64N(1<<32)
		case 1:
			row.Rev = r.Uint64() | 1
		}
		switch r.IntN(4) {
		case 0:
			row.Rkey = codec.AppendRkey(nil, "self")
		case 1:
			row.Rkey = codec.AppendTIDRkey(nil, r.Uint64())
		case 2:
			row.Rkey = codec.AppendTIDRkey(nil, row.Rev-r.Uint64N(1<<31))
		}
		if r.IntN(2) == 0 {
			row.Collection = r.Uint64N(300)
		}
		links := r.IntN(4)
		if row.Rkey == nil {
			links = 0
		}
		for k := range uint64(links) {
			l := LinkRow{ID: row.Seq<<LinkShift + k, Op: byte(r.IntN(2)), Source: r.Uint64N(1000), Rank: -1,
				Target: bytes.Repeat([]byte{byte(r.IntN(256))}, r.IntN(30))}
			if r.IntN(3) == 0 {
				l.Rank = r.Int64()
			}
			rows.Links = append(rows.Links, l)
		}
		rows.Log = append(rows.Log, row)
	}
	return rows
}

// newLog returns a database that has only a log.
func newLog(tb testing.TB) *sql.DB {
	tb.Helper()
	base, err := sql.Open("sqlite", "file:"+filepath.Join(tb.TempDir(), "log.db"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = base.Close() })
	base.SetMaxOpenConns(1)
	if _, err := base.Exec(`CREATE TABLE log (last INTEGER PRIMARY KEY AUTOINCREMENT, first INTEGER NOT NULL,
		time_us INTEGER NOT NULL, links INTEGER NOT NULL, rows BLOB NOT NULL) STRICT`); err != nil {
		tb.Fatal(err)
	}
	return base
}

// same reports whether rows are the same. No bytes and an empty slice of them are.
func same(a, b Rows) bool {
	if len(a.Log) != len(b.Log) || len(a.Links) != len(b.Links) {
		return false
	}
	for i := range a.Log {
		if !reflect.DeepEqual(a.Log[i], b.Log[i]) {
			return false
		}
	}
	for i := range a.Links {
		k, l := a.Links[i], b.Links[i]
		if !bytes.Equal(k.Target, l.Target) {
			return false
		}
		k.Target, l.Target = nil, nil
		if !reflect.DeepEqual(k, l) {
			return false
		}
	}
	return true
}

// TestScan: what is written comes back, whatever parts it was written in and whatever span is read.
func TestScan(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	base := newLog(t)
	want := randomRows(r, 1, 3000)
	var w BlockWriter
	insert := func(args ...any) error {
		_, err := base.Exec(InsertBlock, args...)
		return err
	}
	var waiting Rows
	for after := uint64(0); after < 3000; {
		to := min(after+1+r.Uint64N(200), 3000)
		part := want.Between(after, to)
		after = to
		waiting = Rows{append(waiting.Log, part.Log...), append(waiting.Links, part.Links...)}
		rest, err := w.Write(waiting, r.IntN(5) == 0 || to == 3000, insert)
		if err != nil {
			t.Fatal(err)
		}
		waiting = rest
	}
	for range 200 {
		after := r.Uint64N(3000)
		to := after + r.Uint64N(1000)
		var got Rows
		if err := Scan(context.Background(), base, after, to, func(rows Rows) error {
			got = Rows{append(got.Log, rows.Log...), append(got.Links, rows.Links...)}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if !same(got, want.Between(after, to)) {
			t.Fatalf("rows %d to %d are others", after+1, to)
		}
	}
	var blocks, links int
	if err := base.QueryRow("SELECT count(*), sum(links) FROM log").Scan(&blocks, &links); err != nil ||
		links != len(want.Links) || blocks < 3000/BlockRows || blocks > 50 {
		t.Errorf("%d blocks with %d links, want %d, %v", blocks, links, len(want.Links), err)
	}
	one, ok, err := At(context.Background(), base, 777)
	if err != nil || !ok || !reflect.DeepEqual(one, want.Between(776, 777).Logged()[0]) {
		t.Errorf("row 777 is %+v, %v, %v", one, ok, err)
	}
	_, ok, err = At(context.Background(), base, 3001)
	if ok || err != nil {
		t.Errorf("there is a row 3001: %v", err)
	}
}

// TestBlockIsFull: a block ends with BlockRows rows, and before it grows beyond blockBytes and a row.
func TestBlockIsFull(t *testing.T) {
	t.Parallel()
	long := Rows{Log: make([]Row, 10)}
	for i := range long.Log {
		seq := uint64(i + 1)
		long.Log[i] = Row{Seq: seq, TimeUS: 1, Op: OpCreate, Actor: 1}
		long.Links = append(long.Links, LinkRow{ID: seq << LinkShift, Rank: -1, Target: make([]byte, blockBytes/3)})
	}
	for _, tc := range []struct {
		name        string
		rows        Rows
		n, links    int
		full, isAll bool
	}{
		{"short rows", randomRows(rand.New(rand.NewPCG(1, 3)), 1, BlockRows+1), BlockRows, 0, true, false},
		{"as many as fit", randomRows(rand.New(rand.NewPCG(1, 3)), 1, BlockRows), BlockRows, 0, true, true},
		{"fewer", randomRows(rand.New(rand.NewPCG(1, 3)), 1, BlockRows-1), BlockRows - 1, 0, false, true},
		{"long links", long, 4, 4, true, false},
	} {
		n, links, full := tc.rows.block()
		if n != tc.n || full != tc.full || tc.links != 0 && links != tc.links || (n == len(tc.rows.Log)) != tc.isAll {
			t.Errorf("%s: %d rows and %d links, full: %v", tc.name, n, links, full)
		}
	}
}

// TestWaitingRows: rows that don't fill a block are not written until all are.
func TestWaitingRows(t *testing.T) {
	t.Parallel()
	rows := randomRows(rand.New(rand.NewPCG(1, 6)), 1, 2*BlockRows+7)
	for _, tc := range []struct {
		all           bool
		blocks, waits int
	}{{false, 2, 7}, {true, 3, 0}} {
		blocks := 0
		rest, err := new(BlockWriter).Write(rows, tc.all, func(...any) error { blocks++; return nil })
		if err != nil || blocks != tc.blocks || len(rest.Log) != tc.waits {
			t.Errorf("all: %v: %d blocks, and %d rows wait, %v", tc.all, blocks, len(rest.Log), err)
		}
	}
}

// TestBlockRefuses: rows that no block can hold are refused.
func TestBlockRefuses(t *testing.T) {
	t.Parallel()
	key := codec.AppendRkey(nil, "self")
	row := func(seq uint64) Row { return Row{Seq: seq, Op: OpCreate, Actor: 1, Rkey: key} }
	link := func(id uint64) LinkRow { return LinkRow{ID: id, Rank: -1} }
	for _, tc := range []struct {
		name string
		rows Rows
	}{
		{"a row is missing", Rows{Log: []Row{row(1), row(3)}}},
		{"a row twice", Rows{Log: []Row{row(1), row(1)}}},
		{"a link of no row", Rows{Log: []Row{row(2)}, Links: []LinkRow{link(1 << LinkShift)}}},
		{"a link of a later row", Rows{Log: []Row{row(2)}, Links: []LinkRow{link(3 << LinkShift)}}},
		{"a link number is missing", Rows{Log: []Row{row(1)}, Links: []LinkRow{link(1<<LinkShift + 1)}}},
		{"a link of no record", Rows{Log: []Row{{Seq: 1, Op: OpSync}}, Links: []LinkRow{link(1 << LinkShift)}}},
	} {
		if _, err := new(BlockWriter).Write(tc.rows, true, func(...any) error { return nil }); err == nil {
			t.Errorf("%s: it is written", tc.name)
		}
	}
}

// TestReadLinks: a read of some rows ends before the first row with links once it has enough of them, and has at least
// one row.
func TestReadLinks(t *testing.T) {
	t.Parallel()
	rows := Rows{Log: []Row{{Seq: 1, Op: OpSync}, {Seq: 2, Op: OpCreate}, {Seq: 3, Op: OpSync}, {Seq: 4, Op: OpCreate}}}
	for _, seq := range []uint64{2, 4} {
		for k := range uint64(3) {
			rows.Links = append(rows.Links, LinkRow{ID: seq<<LinkShift + k, Op: byte(k & 1), Rank: 5})
		}
	}
	for _, tc := range []struct{ links, want, left int }{{math.MaxInt, 4, math.MaxInt - 6}, {7, 4, 1}, {4, 4, 0},
		{3, 3, 0}, {1, 3, 0}, {0, 1, 0}} {
		found, left := rows.AppendLogged(nil, tc.links)
		if len(found) != tc.want || left != tc.left {
			t.Errorf("of %d links: %d rows, and %d links more; want %d and %d", tc.links, len(found), left, tc.want, tc.left)
		}
	}
}

// FuzzDecodeBlock: bytes that are no block are an error, and a block reads as it was written.
func FuzzDecodeBlock(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 4))
	for _, n := range []int{1, 2, 30} {
		rows := randomRows(r, 7, n)
		block, err := new(BlockWriter).Encode(nil, rows.Log, rows.Links)
		if err != nil {
			f.Fatal(err)
		}
		got, err := decodeBlock(block, 7, uint64(6+n))
		if err != nil || !same(got, rows) {
			f.Fatalf("%d rows read as others, %v", n, err)
		}
		raw, err := decoder.DecodeAll(block[1:], nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw, uint64(7), uint64(6+n))
	}
	var w BlockWriter
	if _, err := w.Encode(nil, []Row{{Seq: 1}}, nil); err != nil { // makes w.z
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte, first, last uint64) {
		rows, err := decodeBlock(w.z.EncodeAll(raw, []byte{blockFormat}), first, last)
		if err != nil {
			if !errors.Is(err, codec.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		if len(rows.Log) == 0 || rows.Log[0].Seq != first || rows.Log[len(rows.Log)-1].Seq != last {
			t.Fatalf("%d rows of %d to %d", len(rows.Log), first, last)
		}
		_ = rows.Logged()
	})
}

// BenchmarkBlock measures writing and reading a block of likes.
func BenchmarkBlock(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 5))
	var rows Rows
	for i := range uint64(BlockRows) {
		us := int64(1_770_000_000_000_000 + i*1000)
		rev := uint64(us-r.Int64N(2_000_000))<<10 + r.Uint64N(1024)
		rows.Log = append(rows.Log, Row{Seq: i + 1, TimeUS: us, Op: OpCreate, Actor: r.Uint64N(1 << 20), Collection: 3,
			Rkey: codec.AppendTIDRkey(nil, rev-r.Uint64N(1<<30)), Rev: rev})
		target := codec.AppendID([]byte{codec.TagAccount}, r.Uint64N(1<<20))
		rows.Links = append(rows.Links, LinkRow{ID: (i + 1) << LinkShift, Op: codec.Linked, Source: 5, Rank: -1,
			Target: codec.AppendTIDRkey(append(target, 3, 4), r.Uint64())})
	}
	var w BlockWriter
	block, err := w.Encode(nil, rows.Log, rows.Links)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			block, err = w.Encode(block[:0], rows.Log, rows.Links)
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(block))/BlockRows, "B/row")
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			if _, err := decodeBlock(block, 1, BlockRows); err != nil {
				b.Fatal(err)
			}
		}
	})
}
