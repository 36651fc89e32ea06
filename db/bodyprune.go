package db

import "database/sql"

// pruneReplaced forgets which bodies the log rows up to one replaced; where bodies outlive the log, it deletes them.
func (s *Store) pruneReplaced(tx *sql.Tx, upTo uint64) error {
	if !s.state.Bodies.Some {
		return nil
	}
	if s.cfg.Bodies == BodiesKeep {
		if _, err := tx.Exec("DELETE FROM bodies WHERE seq IN (SELECT body FROM replaced WHERE seq <= ?)",
			int64(upTo)); err != nil {
			return err
		}
	}
	_, err := tx.Exec("DELETE FROM replaced WHERE seq <= ?", int64(upTo))
	return err
}

// pruneBodies deletes bodies, oldest first, as many as a commit prunes log rows: those that are out of date, and with
// BodiesWindow those of pruned log rows.
func (s *Store) pruneBodies(tx *sql.Tx, pruned uint64) error {
	b := &s.bodies
	kept := &s.state.Bodies
	upTo := kept.Since
	if s.cfg.Bodies == BodiesWindow {
		upTo = max(upTo, pruned)
	}
	if !kept.Some || upTo <= b.gone {
		return nil
	}
	res, err := tx.Exec("DELETE FROM bodies WHERE seq IN (SELECT seq FROM bodies WHERE seq <= ? ORDER BY seq LIMIT ?)",
		int64(upTo), pruneRows)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n < pruneRows {
		b.gone = upTo // a commit that fails is the last one
	}
	return err
}
