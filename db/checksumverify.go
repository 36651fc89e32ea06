package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrDamaged reports whether weft.db doesn't hold what was written to it.
var ErrDamaged = errors.New("weft.db is damaged")

// The ways out of damage, for the one who writes an index, and for a follower with a copy of its own and without.
const (
	mendStore = "restore it from the replica with weft restore --force --data %s, or start weft serve --replicate " +
		"with an empty directory, which restores it too; without a replica, re-index into an empty directory"
	mendCopy = "start the follower with an empty directory in place of %s: it downloads everything again; if that " +
		"fails too, the replica is damaged: run weft verify"
	mendFollowed = "stop weft and run weft check --data %s"
)

// sumPoint is a place at which a sum is known.
type sumPoint struct {
	what string // has it
	seq  uint64
	ids  nameBounds
	sum  uint64
}

// sumFault is a span between two points whose sum is wrong, or a point.
type sumFault struct {
	after, upTo sumPoint
	point       bool // upTo itself is wrong, for the spans on both sides of it agree
}

// sumFaults holds the sums of the spans between points, the first of which ends at the second point, against the
// points.
func sumFaults(points []sumPoint, spans []uint64) (faults []sumFault) {
	diffs := make([]uint64, len(points)) // of a point from what the first point and the spans say
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

// logFault says what is wrong with the log.
func (f *sumFault) logFault() string {
	if f.point {
		return fmt.Sprintf("the checksum of the log up to row %d in %s is wrong", f.upTo.seq, f.upTo.what)
	}
	return fmt.Sprintf("log rows %d to %d or their links are damaged: wrong checksum", f.after.seq+1, f.upTo.seq)
}

// namesFault says what is wrong with the names.
func (f *sumFault) namesFault() string {
	if f.point {
		return fmt.Sprintf("the checksum of the names up to account %d in %s is wrong", f.upTo.ids.actors, f.upTo.what)
	}
	var parts []string
	for _, k := range []struct {
		what        string
		after, upTo uint64
	}{
		{"accounts", f.after.ids.actors, f.upTo.ids.actors},
		{"collections", f.after.ids.collections, f.upTo.ids.collections},
		{"sources", f.after.ids.sources, f.upTo.ids.sources},
	} {
		if k.upTo > k.after {
			parts = append(parts, fmt.Sprintf("%s %d to %d", k.what, k.after+1, k.upTo))
		}
	}
	return "the names of " + strings.Join(parts, ", or of ") + " are damaged: wrong checksum"
}

// sumPoints reads the places behind a log row at which sums are known, in order, the last commit the last of them. The
// first is where the rows that are there begin, or the first place behind that: rows before it are of no known sum.
// Both are nil while an older weft's index has no sums.
func sumPoints(ctx context.Context, q queryer, from uint64) (log, names []sumPoint, err error) {
	stored, err := storedChecksums(ctx, q)
	if err != nil || !stored.known {
		return nil, nil, err
	}
	end := sumPoint{what: "the last commit"}
	var oldest uint64
	if err := q.QueryRowContext(ctx, `SELECT ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'records'), 0),
		ifnull((SELECT seq FROM records ORDER BY seq LIMIT 1), 0)`).Scan(&end.seq, &oldest); err != nil {
		return nil, nil, err
	}
	end.ids, err = newestNames(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	if oldest == 0 {
		oldest = end.seq + 1
	}
	names = []sumPoint{{what: "nothing"}}
	if oldest == 1 && from == 0 {
		log = []sumPoint{{what: "nothing"}}
	}
	rows, err := q.QueryContext(ctx, `SELECT seq, log_checksum, 0, 0, 0, 0, 'the mark of that row' FROM marks
		WHERE log_checksum IS NOT NULL UNION ALL
		SELECT to_seq, log_checksum, names_checksum, actors, collections, sources, 'the manifest''s row of ' || file FROM segments
		WHERE log_checksum IS NOT NULL AND names_checksum IS NOT NULL ORDER BY 1`)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var p sumPoint
		var ofLog, ofNames int64
		if err := rows.Scan(&p.seq, &ofLog, &ofNames, &p.ids.actors, &p.ids.collections, &p.ids.sources,
			&p.what); err != nil {
			return nil, nil, err
		}
		if p.ids.actors != 0 {
			p.sum = uint64(ofNames)
			names = append(names, p)
		}
		p.sum = uint64(ofLog)
		if p.seq >= max(oldest-1, from) && p.seq <= end.seq {
			log = append(log, p)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, nil, err
	}
	end.sum = stored.names
	names = append(names, end)
	end.sum = stored.log
	return append(log, end), names, nil
}

// verifyLog adds up the log between points and says what is wrong.
func (s *summer) verifyLog(ctx context.Context, points []sumPoint) (faults []sumFault, err error) {
	spans := make([]uint64, max(len(points), 1)-1)
	for i := range spans {
		spans[i], err = s.log(ctx, points[i].seq, points[i+1].seq)
		if err != nil {
			return nil, err
		}
	}
	if len(spans) == 0 {
		return nil, nil
	}
	return sumFaults(points, spans), nil
}

// verifyNames adds up the names between points and says what is wrong.
func (s *summer) verifyNames(ctx context.Context, points []sumPoint) (faults []sumFault, err error) {
	spans := make([]uint64, max(len(points), 1)-1)
	for i := range spans {
		spans[i], err = s.names(ctx, points[i].ids, points[i+1].ids)
		if err != nil {
			return nil, err
		}
	}
	if len(spans) == 0 {
		return nil, nil
	}
	return sumFaults(points, spans), nil
}

// verifyChecksums holds the sums of a snapshot that was replayed from another one against those of the last commit.
// ErrDamaged: they differ, and the error names the rows.
func verifyChecksums(ctx context.Context, q queryer, from, next *Snapshot) error {
	stored, err := storedChecksums(ctx, q)
	if err != nil {
		return err
	}
	if !stored.known || !next.sums.known || next.sums.log == stored.log && next.sums.names == stored.names {
		return nil
	}
	log, names, err := sumPoints(ctx, q, from.seq)
	if err != nil {
		return err
	}
	s := summer{q: q}
	var said []string
	if next.sums.log != stored.log {
		if log[0].seq != from.seq {
			log = append([]sumPoint{{what: "the replayed log", seq: from.seq, sum: from.sums.log}}, log...)
		}
		faults, err := s.verifyLog(ctx, log)
		if err != nil {
			return err
		}
		for i := range faults {
			said = append(said, faults[i].logFault())
		}
	}
	if next.sums.names != stored.names {
		faults, err := s.verifyNames(ctx, names)
		if err != nil {
			return err
		}
		for i := range faults {
			said = append(said, faults[i].namesFault())
		}
	}
	if len(said) == 0 {
		said = []string{fmt.Sprintf("the checksums of log rows %d to %d and of the names were wrong, and correct "+
			"when read "+
			"again: test the memory and the disk of this machine",
			from.seq+1, next.seq)}
	}
	return fmt.Errorf("%w: %s", ErrDamaged, strings.Join(said, "; "))
}

// statusFault is what is wrong when the sum of the statuses is.
const statusFault = "the statuses of accounts that are not active are damaged: wrong checksum"

// verifyStatus holds the sum of the statuses as of now against that of the last commit.
func verifyStatus(ctx context.Context, q queryer, sum uint64) error {
	stored, err := storedChecksums(ctx, q)
	if err != nil {
		return err
	}
	if stored.known && stored.status != sum {
		return fmt.Errorf("%w: %s", ErrDamaged, statusFault)
	}
	return nil
}

// tellSums is how often the first sums of a large index say how far they are.
const tellSums = 10 * time.Second

// beginChecksums computes the sums of an index that an older weft wrote, over what is there; in a new one, that is
// nothing. From then on each commit goes on with them. Where log rows are pruned, the sum begins with the oldest row
// that is left.
func (s *Store) beginChecksums(ctx context.Context) error {
	stored, err := storedChecksums(ctx, s.reader)
	if err != nil || stored.known {
		return err
	}
	rows, err := readManifestRows(ctx, s.reader)
	if err != nil {
		return err
	}
	var sealed manifestRow
	if len(rows) > 0 {
		sealed = rows[len(rows)-1]
	}
	oldest, newest, err := s.LogRange(ctx)
	if err != nil {
		return err
	}
	ids, err := newestNames(ctx, s.reader)
	if err != nil {
		return err
	}
	told := s.cfg.Now()
	sum := summer{q: s.reader, progress: func(rows int64) {
		if now := s.cfg.Now(); now.Sub(told) >= tellSums {
			told = now
			s.cfg.Logger.Info("computing the first checksums of this index", "rows", rows, "log_rows", newest,
				"accounts", ids.actors)
		}
	}}
	var parts [2]checksums // up to the newest segment, and behind it
	for i, span := range [2]struct {
		after, upTo uint64
		from, to    nameBounds
	}{{0, sealed.ToSeq, nameBounds{}, sealed.names()}, {sealed.ToSeq, newest, sealed.names(), ids}} {
		parts[i].log, err = sum.log(ctx, span.after, span.upTo)
		if err != nil {
			return err
		}
		parts[i].names, err = sum.names(ctx, span.from, span.to)
		if err != nil {
			return err
		}
	}
	parts[1].status, err = sum.status(ctx)
	if err != nil {
		return err
	}
	return s.writeFirstChecksums(parts, oldest, sealed.ID)
}

// writeFirstChecksums writes the sums up to the newest segment and behind it. oldest is the oldest log row; 0: there is
// none.
func (s *Store) writeFirstChecksums(parts [2]checksums, oldest, segment uint64) error {
	tx, err := s.writer.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.Exec("UPDATE segments SET log_checksum = ?, names_checksum = ? WHERE id = ?",
		int64(parts[0].log), int64(parts[0].names), int64(segment)); err != nil {
		return err
	}
	if oldest > 1 { // as old as the oldest mark, so that ages grow
		if _, err := tx.Exec(`INSERT INTO marks (seq, age_us, log_checksum) VALUES (?, ifnull((SELECT min(age_us) FROM marks), 0), 0)
			ON CONFLICT (seq) DO UPDATE SET log_checksum = 0`, int64(oldest-1)); err != nil {
			return err
		}
	}
	if _, err := tx.Exec("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?), (?, ?), (?, ?)", logChecksum,
		int64(parts[0].log+parts[1].log),
		namesChecksum, int64(parts[0].names+parts[1].names), statusChecksum, int64(parts[1].status)); err != nil {
		return err
	}
	return tx.Commit()
}
