package db

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/lsm"
	"weft.dev/weft/db/segment"
)

// openOrRebuildSegments opens the segments that the manifest names. It fetches a missing or damaged segment from the
// replica. If the replica lacks the segment and the log is complete, it rebuilds the segment from the log rows that it
// covers. If all segments are lost, as after a restore of the database alone, it empties the manifest, and the ordinary
// replay rebuilds them.
func (s *Store) openOrRebuildSegments(ctx context.Context) (files []*index.File, err error) {
	if err := os.MkdirAll(filepath.Join(s.cfg.Dir, "segments"), 0o755); err != nil {
		return nil, fmt.Errorf("make the directory of segments: %w", err)
	}
	rows, err := index.ReadManifestRows(ctx, s.core.Reader)
	if err != nil {
		return nil, err
	}
	opened, lost, err := s.openOrFetch(ctx, rows)
	defer func() {
		if err != nil {
			for _, f := range opened {
				if f != nil {
					_ = f.Close()
				}
			}
		}
	}()
	if errors.Is(err, segment.ErrFormat) {
		return nil, s.otherFormat(ctx, err)
	}
	if lost == nil || err != nil {
		return opened, errors.Join(err, s.removeStraysAfter(err, rows))
	}
	first, _, err := s.LogRange(ctx)
	if err != nil {
		return nil, err
	}
	if first != 1 {
		return nil, lost
	}
	if all := !hasFile(opened); all {
		return nil, errors.Join(s.forgetSegments(lost, len(rows)), s.core.RemoveStrays(nil))
	}
	for i, row := range rows {
		if opened[i] != nil {
			files = append(files, opened[i])
			continue
		}
		parts, err := s.rebuildSegment(ctx, row, files, lost)
		if err != nil {
			return nil, fmt.Errorf("rebuild segment %s from the log: %w", row.File, err)
		}
		opened = append(opened, parts...)
		files = append(files, parts...)
	}
	rows, err = index.ReadManifestRows(ctx, s.core.Reader)
	if err != nil {
		return nil, err
	}
	return files, s.core.RemoveStrays(rows)
}

// otherFormat adds the remedy to the error of a segment whose format this weft doesn't read.
func (s *Store) otherFormat(ctx context.Context, err error) error {
	first, _, e := s.LogRange(ctx)
	if e != nil {
		return errors.Join(err, e)
	}
	if first == 1 {
		return fmt.Errorf("%w; or move the directory %s away: the log is complete, and weft serve rebuilds all "+
			"segments from it", err, filepath.Join(s.cfg.Dir, "segments"))
	}
	return fmt.Errorf("%w; the log no longer has the rows of the segment; without a replica, re-index into an empty "+
		"directory", err)
}

// removeStraysAfter removes stray files unless an error came before.
func (s *Store) removeStraysAfter(err error, rows []index.ManifestRow) error {
	if err != nil {
		return nil
	}
	return s.core.RemoveStrays(rows)
}

func hasFile(files []*index.File) bool {
	for _, f := range files {
		if f != nil {
			return true
		}
	}
	return false
}

// openOrFetch opens the segments of the manifest. A lost segment is nil in opened; lost is the error of the first one.
func (s *Store) openOrFetch(ctx context.Context, rows []index.ManifestRow) (files []*index.File, lost, err error) {
	for _, row := range rows {
		f, err := s.core.OpenSegment(row)
		if errors.Is(err, index.ErrLost) && s.cfg.Fetch != nil {
			f, err = s.fetchSegment(ctx, row, err)
		}
		if errors.Is(err, index.ErrLost) {
			if lost == nil {
				lost = err
			}
			f = nil
			err = nil
		}
		if err != nil {
			return files, nil, err
		}
		files = append(files, f)
	}
	return files, lost, nil
}

// fetchSegment downloads a lost segment from the replica, and opens it.
func (s *Store) fetchSegment(ctx context.Context, row index.ManifestRow, why error) (*index.File, error) {
	if s.cfg.Progress != nil {
		s.cfg.Progress("downloading segment "+row.File+" from the replica", 0, 0)
	}
	if err := s.cfg.Fetch(ctx, manifestFile(row)); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w; and cannot download it from the replica: %w", why, err)
	}
	s.cfg.Logger.Warn("downloaded a lost segment from the replica", "file", row.File, "because", why)
	return s.core.OpenSegment(row)
}

// forgetSegments empties the manifest.
func (s *Store) forgetSegments(why error, n int) error {
	s.cfg.Logger.Warn("rebuilding the index from the complete log", "because", why, "segments", n)
	tx, err := s.writer.Begin() // a job of a forgotten segment would run before the first row of the log
	if err != nil {
		return fmt.Errorf("forget the segments: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	for _, statement := range []string{"DELETE FROM segments", "DELETE FROM sealed_jobs"} {
		if _, err := tx.Exec(statement); err != nil {
			return fmt.Errorf("forget the segments: %w", err)
		}
		if err := s.failpoint("forget"); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("forget the segments: %w", err)
	}
	return nil
}

// rebuildSegment rebuilds a lost segment from the log rows that it covers, on top of the segments below it. Because
// memory is bounded, the result may be several files. The manifest names all of them or none.
func (s *Store) rebuildSegment(ctx context.Context, row index.ManifestRow, below []*index.File,
	why error) (parts []*index.File, err error) {
	s.cfg.Logger.Warn("rebuilding a segment from the complete log", "file", row.File, "log_from", row.FromSeq,
		"log_to", row.ToSeq, "because", why)
	defer func() {
		if err != nil {
			for _, f := range parts {
				_ = f.Close()
			}
		}
	}()
	files := append([]*index.File(nil), below...)
	last := false
	write := func(v *index.Snapshot) (*index.Snapshot, error) {
		part := index.ManifestRow{Level: row.Level, FromSeq: v.Sealed + 1, ToSeq: v.Seq, Linking: v.Linking,
			Actors: row.Actors, Collections: row.Collections, Sources: row.Sources}
		if last { // the checksums at the end of the other parts are not known
			part.LogChecksum = row.LogChecksum
			part.NamesChecksum = row.NamesChecksum
		}
		var runs [3][]lsm.Run
		for i, tree := range v.Trees() {
			runs[i] = tree.Runs[len(files):]
		}
		f, _, err := s.writeSegment(segmentPlan{row: part, runs: runs, bottom: len(files) == 0})
		if err != nil {
			return nil, err
		}
		parts = append(parts, f)
		files = append(files, f)
		return index.Layers(files), s.onSegment(f, false)
	}
	err = s.core.InReadTx(ctx, func(q logrow.Queryer) error {
		v := index.Layers(below)
		v.Seq = row.FromSeq - 1
		v.Sealed = row.FromSeq - 1
		v, err := s.state.ReplaySpan(ctx, q, v, &row, func(v *index.Snapshot) (*index.Snapshot, error) {
			if v.MutableBytes() < 2*s.cfg.SealBytes || v.Seq >= row.ToSeq { // the last part is written below
				return v, nil
			}
			return write(v)
		})
		if err != nil {
			return err
		}
		if was := row.Checksums(); was.Known && v.Sums.Known && v.Sums.Log != was.Log {
			return fmt.Errorf("%w: log rows %d to %d have changed since the segment was written: "+index.MendStore,
				logrow.ErrDamaged, row.FromSeq, row.ToSeq, s.cfg.Dir)
		}
		v.Seq = row.ToSeq
		last = true
		_, err = write(v)
		return err
	})
	if err != nil {
		return nil, err
	}
	return parts, s.replaceSegment(row, parts)
}

// replaceSegment replaces a segment in the manifest by the parts that were rebuilt.
func (s *Store) replaceSegment(row index.ManifestRow, parts []*index.File) error {
	if err := s.failpoint("enter"); err != nil {
		return err
	}
	tx, err := s.writer.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.Exec("DELETE FROM segments WHERE id = ?", int64(row.ID)); err != nil {
		return err
	}
	for _, f := range parts {
		if err := insertSegment(tx, f); err != nil {
			return err
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return s.failpoint("entered")
}
