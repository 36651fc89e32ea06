package logrow

import (
	"fmt"
	"testing"

	"weft.dev/weft/db/codec"
)

// TestSumFaults: a span that is wrong is told from a point that is.
func TestSumFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		points [5]uint64
		spans  [4]uint64
		want   string
	}{
		{"nothing", [5]uint64{5, 6, 8, 11, 15}, [4]uint64{1, 2, 3, 4}, ""},
		{"a span", [5]uint64{5, 6, 8, 11, 15}, [4]uint64{1, 9, 3, 4}, "1-2 "},
		{"two spans", [5]uint64{5, 6, 8, 11, 15}, [4]uint64{7, 2, 3, 9}, "0-1 3-4 "},
		{"two spans that follow", [5]uint64{5, 6, 8, 11, 15}, [4]uint64{1, 9, 9, 4}, "1-2 2-3 "},
		{"a point", [5]uint64{5, 6, 80, 11, 15}, [4]uint64{1, 2, 3, 4}, "point 2 "},
		{"the last span", [5]uint64{5, 6, 8, 11, 15}, [4]uint64{1, 2, 3, 5}, "3-4 "},
		{"sums that run over", [5]uint64{1<<64 - 1, 0, 2, 5, 9}, [4]uint64{1, 2, 3, 4}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			points := make([]Point, len(tc.points))
			for i := range points {
				points[i] = Point{Seq: uint64(i), sum: tc.points[i]}
			}
			got := ""
			for _, f := range sumFaults(points, tc.spans[:]) {
				if f.point {
					got += fmt.Sprintf("point %d ", f.upTo.Seq)
				} else {
					got += fmt.Sprintf("%d-%d ", f.after.Seq, f.upTo.Seq)
				}
			}
			if got != tc.want {
				t.Errorf("found %q, want %q", got, tc.want)
			}
		})
	}
}

// BenchmarkChecksums is what the checksums of a like take: of its log row, its link and its name.
func BenchmarkChecksums(b *testing.B) {
	names := []NameRow{{'d', 1_000_000, 0, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaf"}}
	log := []Row{{Seq: 9_000_000, TimeUS: 1_770_000_000_000_000, Op: OpCreate, Actor: 1_000_000, Collection: 3,
		Rkey: make([]byte, 9), Rev: 1 << 60}}
	links := []LinkRow{{ID: 9_000_000 << LinkShift, Op: codec.Linked, Source: 3, Target: make([]byte, 17), Rank: -1}}
	var c Checksums
	for b.Loop() {
		c.Add(names, log, links)
	}
}

// TestProgress: an Adder reports its progress each time that it has read sumSpan rows, and not for each block.
func TestProgress(t *testing.T) {
	t.Parallel()
	var reported []int64
	s := Adder{Progress: func(rows int64) { reported = append(reported, rows) }}
	for range 2*sumSpan/BlockRows + 1 {
		s.count(BlockRows)
	}
	if len(reported) != 2 || reported[0] != sumSpan || reported[1] != 2*sumSpan {
		t.Errorf("it reports %v rows", reported)
	}
}
