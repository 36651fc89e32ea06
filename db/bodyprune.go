package db

import "database/sql"

// pruneReplaced deletes the rows of replaced up to a log row. If bodies outlive the log, it also deletes the bodies
// that log rows up to overtaken replaced.
func (s *Store) pruneReplaced(tx *sql.Tx, upTo, overtaken uint64) error {
	if !s.state.Bodies.Some {
		return nil
	}
	if s.cfg.Bodies == BodiesKeep {
		if _, err := tx.Exec("DELETE FROM bodies WHERE seq IN (SELECT body FROM replaced WHERE seq <= ?)",
			int64(overtaken)); err != nil {
			return err
		}
		if _, err := tx.Exec("UPDATE replaced SET body = 0 WHERE seq > ? AND seq <= ? AND body <> 0", int64(upTo),
			int64(overtaken)); err != nil {
			return err
		}
	}
	_, err := tx.Exec("DELETE FROM replaced WHERE seq <= ?", int64(upTo))
	return err
}

// bodiesUpTo returns the log row up to which bodies must be deleted: they are out of date, or with BodiesWindow their
// log row is pruned.
func (s *Store) bodiesUpTo(pruned uint64) uint64 {
	if s.cfg.Bodies == BodiesWindow {
		return max(s.state.Bodies.Since, pruned)
	}
	return s.state.Bodies.Since
}

// hasOldBodies reports whether bodies are left that must be deleted.
func (s *Store) hasOldBodies(pruned uint64) bool {
	return s.state.Bodies.Some && s.bodiesUpTo(pruned) > s.bodies.gone
}

// pruneBodies deletes bodies that are out of date, oldest first, up to pruneRows of them.
func (s *Store) pruneBodies(tx *sql.Tx, pruned uint64) error {
	b := &s.bodies
	if !s.hasOldBodies(pruned) {
		return nil
	}
	upTo := s.bodiesUpTo(pruned)
	res, err := tx.Exec("DELETE FROM bodies WHERE seq IN (SELECT seq FROM bodies WHERE seq <= ? ORDER BY seq LIMIT ?)",
		int64(upTo), pruneRows)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err == nil && n < pruneRows {
		b.gone = upTo // safe before the commit: after a failed commit nothing is written
	}
	return err
}
