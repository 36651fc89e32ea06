package db

import "database/sql"

// pruneReplaced forgets what the log rows up to one put out of date; where bodies are kept beyond the log, these go now.
func (s *Store) pruneReplaced(tx *sql.Tx, upTo uint64) error {
	if !s.bodies.some {
		return nil
	}
	if s.cfg.Bodies == BodiesKeep {
		if _, err := tx.Exec("DELETE FROM bodies WHERE seq IN (SELECT body FROM replaced WHERE seq <= ?)", int64(upTo)); err != nil {
			return err
		}
	}
	_, err := tx.Exec("DELETE FROM replaced WHERE seq <= ?", int64(upTo))
	return err
}

// pruneBodies lets bodies go, oldest first, as many as a commit takes log rows away: those that are out of date, and with
// BodiesWindow those of log rows that are gone.
func (s *Store) pruneBodies(tx *sql.Tx, pruned uint64) error {
	b := &s.bodies
	upTo := b.since
	if s.cfg.Bodies == BodiesWindow {
		upTo = max(upTo, pruned)
	}
	if !b.some || upTo <= b.gone {
		return nil
	}
	res, err := tx.Exec("DELETE FROM bodies WHERE seq IN (SELECT seq FROM bodies WHERE seq <= ? ORDER BY seq LIMIT ?)", int64(upTo), pruneRows)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n < pruneRows {
		b.gone = upTo // a commit that fails is the last, so that nobody takes this for true then
	}
	return err
}
