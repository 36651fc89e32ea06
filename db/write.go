package db

import (
	"database/sql"
	"fmt"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/panics"
)

// writing is the transaction of a batch. The log rows of a large batch are written while its rest is applied: both take
// about as long, and with a second core the log costs no time. Nothing is visible before commit.
type writing struct {
	s      *Store
	tx     *sql.Tx   // nil: not begun
	mayGo  uint64    // log rows up to this one may be deleted
	pruned uint64    // log rows up to this one are deleted
	added  int       // log rows written since the last deletion
	window logWindow // after the commit
	before logrow.Checksums
	sums   logrow.Checksums // including the added rows
	handed mark             // rows that were passed on
	parts  chan apply.Rows
	ended  chan error // why the writing of parts ended
}

// mark counts the rows of a batch that were passed on to be written.
type mark struct{ names, log, links int }

// since returns the names, log rows and links after the mark, and moves it.
func (m *mark) since(rs *apply.Rows) apply.Rows {
	part := apply.Rows{Names: rs.Names[m.names:], Log: rs.Log[m.log:], Links: rs.Links[m.links:]}
	*m = mark{len(rs.Names), len(rs.Log), len(rs.Links)}
	return part
}

const (
	// aheadEvents is the number of events in a part. Applying them takes some 300 µs.
	aheadEvents = 64
	// aheadParts bounds the parts that wait to be written. Beyond it the applier waits, as it would for the commit.
	aheadParts = 64
)

// newWriting returns a transaction that begins with the first part, or with its commit; end must be called.
func (s *Store) newWriting() *writing {
	sums := s.core.Snapshot().Sums
	return &writing{s: s, mayGo: s.exceptNewest(s.prunable()), pruned: s.log.pruned, added: s.log.added, before: sums,
		sums: sums}
}

// ahead passes on the rows since the last call to be written.
func (w *writing) ahead(rs *apply.Rows) {
	if w.parts == nil {
		parts := make(chan apply.Rows, aheadParts)
		w.parts = parts
		w.ended = make(chan error, 1)
		go func() {
			defer panics.Log(w.s.cfg.Logger, "write ahead")
			err := w.begin()
			for part := range parts {
				if err == nil {
					err = w.add(part)
				}
			}
			w.ended <- err
		}()
	}
	w.parts <- w.handed.since(rs)
}

// end waits for the running writes, and rolls back uncommitted rows.
func (w *writing) end() {
	_ = w.wait() // commit has returned its error
	if w.tx != nil {
		_ = w.tx.Rollback()
	}
}

// wait waits until all rows that were passed on are written.
func (w *writing) wait() error {
	if w.parts == nil {
		return nil
	}
	close(w.parts)
	w.parts = nil
	return <-w.ended
}

func (w *writing) begin() (err error) {
	w.tx, err = w.s.writer.Begin() // without a context: a cancel would close the connection
	return err
}

// add writes a part.
func (w *writing) add(part apply.Rows) error {
	// New rows reuse the pages of old rows, so each page is written once: in a WAL, SQLite also writes a page that it
	// frees.
	if err := w.prune(len(part.Log)); err != nil {
		return err
	}
	w.sums.Add(part.Names, part.Log, part.Links)
	return w.s.inserts.add(w.tx, &part)
}

// commit writes the rest of a batch, and ends its transaction.
func (w *writing) commit(rs *apply.Rows, up progress) error {
	if err := w.wait(); err != nil {
		return err
	}
	if w.tx == nil {
		if err := w.begin(); err != nil {
			return err
		}
	}
	if err := w.add(w.handed.since(rs)); err != nil {
		return err
	}
	s := w.s
	tx := w.tx
	if err := w.sums.ChangeStatus(tx, rs.Status); err != nil {
		return err
	}
	if err := s.inserts.finish(tx, rs); err != nil {
		return err
	}
	if err := w.sums.Write(tx.Stmt(s.inserts.checksum), w.before); err != nil {
		return err
	}
	if err := s.writeBodies(tx, rs); err != nil {
		return fmt.Errorf("bodies: %w", err)
	}
	if err := s.writeGaps(tx, rs, up.gap); err != nil {
		return err
	}
	if err := w.markClock(rs, up.maxUS); err != nil {
		return err
	}
	if err := s.pruneBodies(tx, w.pruned); err != nil {
		return err
	}
	if err := up.write(tx, s.inserts.upstream); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	s.log = w.window
	if up.gap != nil || len(rs.Aborted) > 0 {
		s.openGaps.changed()
	}
	return nil
}

// upsertUpstream writes the position of an upstream.
const upsertUpstream = `INSERT INTO upstream (host, kind, seq, high_seq, time_us, cursor_us, instance, followed_us,
		clock_us, epoch) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
	ON CONFLICT (host) DO UPDATE SET kind = excluded.kind, seq = excluded.seq, high_seq = excluded.high_seq,
		time_us = excluded.time_us, cursor_us = excluded.cursor_us, instance = excluded.instance,
		followed_us = excluded.followed_us, clock_us = excluded.clock_us, epoch = excluded.epoch`

// write writes the position of an upstream. upsert is upsertUpstream.
func (up *progress) write(tx *sql.Tx, upsert *sql.Stmt) error {
	if up.firstUS != 0 {
		if _, err := tx.Exec("INSERT INTO meta (key, value) VALUES ('started_us', ?)", up.firstUS); err != nil {
			return err
		}
	}
	if err := up.spelling.write(tx); err != nil {
		return err
	}
	if up.host == "" {
		return nil
	}
	u := &up.upstream
	_, err := tx.Stmt(upsert).Exec(up.host, u.Kind, int64(u.Seq), int64(u.High), up.maxUS, u.US, u.Instance,
		u.Followed.UntilUS, u.Followed.ClockUS, u.Epoch)
	return err
}
