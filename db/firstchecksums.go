package db

import (
	"context"
	"time"

	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
)

// tellSums is the interval at which the progress of the first sums of a large index is logged.
const tellSums = 10 * time.Second

// beginChecksums computes the sums of an index that an older weft wrote, over its present rows; a new index has none.
// From then on each commit updates the sums. If log rows are pruned, the sum begins with the oldest row that is left.
func (s *Store) beginChecksums(ctx context.Context) error {
	stored, err := logrow.StoredChecksums(ctx, s.core.Reader)
	if err != nil || stored.Known {
		return err
	}
	rows, err := index.ReadManifestRows(ctx, s.core.Reader)
	if err != nil {
		return err
	}
	var sealed index.ManifestRow
	if len(rows) > 0 {
		sealed = rows[len(rows)-1]
	}
	oldest, newest, err := s.LogRange(ctx)
	if err != nil {
		return err
	}
	ids, err := logrow.NewestNames(ctx, s.core.Reader)
	if err != nil {
		return err
	}
	last := s.cfg.Now()
	sum := logrow.Adder{Q: s.core.Reader, Progress: func(rows int64) {
		if now := s.cfg.Now(); now.Sub(last) >= tellSums {
			last = now
			s.cfg.Logger.Info("computing the first checksums of this index", "rows", rows, "log_rows", newest,
				"accounts", ids.Actors)
		}
	}}
	var parts [2]logrow.Checksums // up to the newest segment, and after it
	for i, span := range [2]struct {
		after, upTo uint64
		from, to    logrow.NameBounds
	}{{0, sealed.ToSeq, logrow.NameBounds{}, sealed.Names()}, {sealed.ToSeq, newest, sealed.Names(), ids}} {
		parts[i].Log, err = sum.Log(ctx, span.after, span.upTo)
		if err != nil {
			return err
		}
		parts[i].Names, err = sum.Names(ctx, span.from, span.to)
		if err != nil {
			return err
		}
	}
	parts[1].Status, err = sum.Status(ctx)
	if err != nil {
		return err
	}
	return s.writeFirstChecksums(parts, oldest, sealed.ID)
}

// writeFirstChecksums writes the sums up to the newest segment and after it. oldest is the oldest log row; 0: there is
// none.
func (s *Store) writeFirstChecksums(parts [2]logrow.Checksums, oldest, segment uint64) error {
	tx, err := s.writer.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.Exec("UPDATE segments SET log_checksum = ?, names_checksum = ? WHERE id = ?",
		int64(parts[0].Log), int64(parts[0].Names), int64(segment)); err != nil {
		return err
	}
	if oldest > 1 { // with the age of the oldest mark, so that ages increase
		if _, err := tx.Exec(
			`INSERT INTO marks (seq, clock_us, log_checksum) VALUES (?, ifnull((SELECT min(clock_us) FROM marks), 0), 0)
			ON CONFLICT (seq) DO UPDATE SET log_checksum = 0`, int64(oldest-1)); err != nil {
			return err
		}
	}
	if _, err := tx.Exec("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?), (?, ?), (?, ?)", logrow.LogChecksum,
		int64(parts[0].Log+parts[1].Log),
		logrow.NamesChecksum, int64(parts[0].Names+parts[1].Names),
		logrow.StatusChecksum, int64(parts[1].Status)); err != nil {
		return err
	}
	return tx.Commit()
}
