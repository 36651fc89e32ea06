package logrow

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrDamaged is the error of a weft.db whose rows differ from the rows that weft wrote.
var ErrDamaged = errors.New("weft.db is damaged")

// Point is a place in the log or in the names for which weft.db stores a checksum.
type Point struct {
	what string // where the checksum is stored, for messages
	Seq  uint64
	ids  NameBounds
	sum  uint64
}

// sumFault is a damaged span between two points, or a point whose own checksum is damaged.
type sumFault struct {
	after, upTo Point
	point       bool // the checksum of upTo is damaged: the spans before and after it agree
}

// sumFaults compares the points with the sums of the spans between them. spans[i] lies between points[i] and
// points[i+1].
func sumFaults(points []Point, spans []uint64) (faults []sumFault) {
	diffs := make([]uint64, len(points)) // a point minus the sum of the first point and the spans before it
	at := points[0].sum
	for i, span := range spans {
		at += span
		diffs[i+1] = points[i+1].sum - at
	}
	for i := 1; i < len(points); i++ {
		if diffs[i] == diffs[i-1] {
			continue
		}
		point := i+1 < len(points) && diffs[i+1] == diffs[i-1]
		faults = append(faults, sumFault{points[i-1], points[i], point})
		if point {
			i++
		}
	}
	return faults
}

// LogFault describes a fault of the log.
func (f *sumFault) LogFault() string {
	if f.point {
		return fmt.Sprintf("the checksum of the log up to row %d in %s is wrong", f.upTo.Seq, f.upTo.what)
	}
	return fmt.Sprintf("log rows %d to %d or their links are damaged: wrong checksum", f.after.Seq+1, f.upTo.Seq)
}

// NamesFault describes a fault of the names.
func (f *sumFault) NamesFault() string {
	if f.point {
		return fmt.Sprintf("the checksum of the names up to account %d in %s is wrong", f.upTo.ids.Actors, f.upTo.what)
	}
	var parts []string
	for _, k := range []struct {
		what        string
		after, upTo uint64
	}{
		{"accounts", f.after.ids.Actors, f.upTo.ids.Actors},
		{"collections", f.after.ids.Collections, f.upTo.ids.Collections},
		{"sources", f.after.ids.Sources, f.upTo.ids.Sources},
	} {
		if k.upTo > k.after {
			parts = append(parts, fmt.Sprintf("%s %d to %d", k.what, k.after+1, k.upTo))
		}
	}
	return "the names of " + strings.Join(parts, ", or of ") + " are damaged: wrong checksum"
}

// Points reads the points from a log row on, in order. The newest is the last commit. The first lies where the kept
// rows begin, or behind that: the rows before the first point can't be verified. Both results are nil for an index of
// an older weft, which has no checksums yet.
func Points(ctx context.Context, q Queryer, from uint64) (log, names []Point, err error) {
	stored, err := StoredChecksums(ctx, q)
	if err != nil || !stored.Known {
		return nil, nil, err
	}
	end := Point{what: "the last commit"}
	var oldest uint64
	if err := q.QueryRowContext(ctx, `SELECT ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'log'), 0),
		ifnull((SELECT first FROM log WHERE last = (SELECT min(last) FROM log)), 0)`).Scan(&end.Seq, &oldest); err != nil {
		return nil, nil, err
	}
	end.ids, err = NewestNames(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	if oldest == 0 {
		oldest = end.Seq + 1
	}
	names = []Point{{what: "nothing"}}
	if oldest == 1 && from == 0 {
		log = []Point{{what: "nothing"}}
	}
	rows, err := q.QueryContext(ctx, `SELECT seq, log_checksum, 0, 0, 0, 0, 'the mark of that row' FROM marks
		WHERE log_checksum IS NOT NULL UNION ALL
		SELECT to_seq, log_checksum, names_checksum, actors, collections, sources, 'the manifest''s row of ' || file
		FROM segments WHERE log_checksum IS NOT NULL AND names_checksum IS NOT NULL ORDER BY 1`)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var p Point
		var ofLog, ofNames int64
		if err := rows.Scan(&p.Seq, &ofLog, &ofNames, &p.ids.Actors, &p.ids.Collections, &p.ids.Sources,
			&p.what); err != nil {
			return nil, nil, err
		}
		if p.ids.Actors != 0 {
			p.sum = uint64(ofNames)
			names = append(names, p)
		}
		p.sum = uint64(ofLog)
		if p.Seq >= max(oldest-1, from) && p.Seq <= end.Seq {
			log = append(log, p)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, nil, err
	}
	end.sum = stored.Names
	names = append(names, end)
	end.sum = stored.Log
	return append(log, end), names, nil
}

// VerifyLog adds up the log rows between points and returns the faults.
func (s *Adder) VerifyLog(ctx context.Context, points []Point) (faults []sumFault, err error) {
	spans := make([]uint64, max(len(points), 1)-1)
	for i := range spans {
		spans[i], err = s.Log(ctx, points[i].Seq, points[i+1].Seq)
		var damaged *BlockError
		if errors.As(err, &damaged) {
			faults = append(faults, sumFault{after: points[i], upTo: points[i+1]})
			spans[i] = points[i+1].sum - points[i].sum // as if it were sound, for the spans behind it
			continue
		}
		if err != nil {
			return nil, err
		}
	}
	if len(spans) == 0 {
		return nil, nil
	}
	return append(faults, sumFaults(points, spans)...), nil
}

// VerifyNames adds up the names between points and returns the faults.
func (s *Adder) VerifyNames(ctx context.Context, points []Point) (faults []sumFault, err error) {
	spans := make([]uint64, max(len(points), 1)-1)
	for i := range spans {
		spans[i], err = s.Names(ctx, points[i].ids, points[i+1].ids)
		if err != nil {
			return nil, err
		}
	}
	if len(spans) == 0 {
		return nil, nil
	}
	return sumFaults(points, spans), nil
}

// Verify compares the checksums of a replay with the checksums of the last commit. The replay began with the checksums
// before, as of log row from, and ended with the checksums after, as of log row to. An error that wraps ErrDamaged
// names the rows that differ.
func Verify(ctx context.Context, q Queryer, from uint64, before Checksums, to uint64, after Checksums) error {
	stored, err := StoredChecksums(ctx, q)
	if err != nil {
		return err
	}
	if !stored.Known || !after.Known || after.Log == stored.Log && after.Names == stored.Names {
		return nil
	}
	log, names, err := Points(ctx, q, from)
	if err != nil {
		return err
	}
	s := Adder{Q: q}
	var said []string
	if after.Log != stored.Log {
		if log[0].Seq != from {
			log = append([]Point{{what: "the replayed log", Seq: from, sum: before.Log}}, log...)
		}
		faults, err := s.VerifyLog(ctx, log)
		if err != nil {
			return err
		}
		for i := range faults {
			said = append(said, faults[i].LogFault())
		}
	}
	if after.Names != stored.Names {
		faults, err := s.VerifyNames(ctx, names)
		if err != nil {
			return err
		}
		for i := range faults {
			said = append(said, faults[i].NamesFault())
		}
	}
	if len(said) == 0 {
		said = []string{fmt.Sprintf("the checksums of log rows %d to %d and of the names were wrong, and correct "+
			"when read "+
			"again: test the memory and the disk of this machine",
			from+1, to)}
	}
	return fmt.Errorf("%w: %s", ErrDamaged, strings.Join(said, "; "))
}

// StatusFault describes a wrong checksum of the statuses.
const StatusFault = "the statuses of accounts that are not active are damaged: wrong checksum"

// VerifyStatus compares the checksum of the statuses with the checksum of the last commit.
func VerifyStatus(ctx context.Context, q Queryer, sum uint64) error {
	stored, err := StoredChecksums(ctx, q)
	if err != nil {
		return err
	}
	if stored.Known && stored.Status != sum {
		return fmt.Errorf("%w: %s", ErrDamaged, StatusFault)
	}
	return nil
}
