package db

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"weft.dev/weft/db/keep"
)

// beginRetention moves the horizons to the log's clock by the rules of this start, and logs what is kept.
func (s *Store) beginRetention(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.deleteOutBodies(s.state.TakeOutBodies()); err != nil {
		return err
	}
	if err := s.moveHorizons(ctx); err != nil {
		return err
	}
	list := s.core.Snapshot().Horizons.Status()
	if list == nil { // no event has come yet
		for _, rule := range s.cfg.Keep.List() {
			list = append(list, keep.Status{Rule: rule})
		}
	}
	for _, st := range list {
		args := []any{"links_from", st.Pattern, "keep", st.KeepText()}
		if st.HorizonUS > 0 {
			args = append(args, "since", time.UnixMicro(st.HorizonUS).UTC().Format(time.RFC3339))
		}
		if st.Since {
			args = append(args, "because", "earlier rules kept less, and what is gone does not come back")
		}
		s.cfg.Logger.Info("retention", args...)
	}
	return nil
}

// moveHorizons moves the horizons to the log's clock where a step is due. The caller holds mu.
func (s *Store) moveHorizons(ctx context.Context) error {
	fitted, _ := s.state.Retention().FitUS(s.cfg.Keep)
	row, due := s.state.Retention().Due(s.cfg.Keep, s.log.US(), s.fitUS())
	if !due {
		return nil
	}
	if err := s.failpoint("horizon"); err != nil {
		return err
	}
	if err := s.inTx(func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO retention (rules, clock_us, fit_us) VALUES (?, ?, ?)
			ON CONFLICT (rules) DO UPDATE SET clock_us = max(clock_us, excluded.clock_us),
				fit_us = max(fit_us, excluded.fit_us)`,
			row.Rules, row.ClockUS, row.FitUS)
		return err
	}); err != nil {
		return fmt.Errorf("write the table retention: %w", err)
	}
	if err := s.state.LoadRetention(ctx, s.core.Reader); err != nil {
		return err
	}
	next := *s.core.Snapshot()
	next.Horizons = s.state.Horizons()
	s.core.SetSnapshot(&next)
	s.checkpointIfDue()
	wake(s.compactWork)
	if row.FitUS > fitted {
		s.cfg.Logger.Info("links of rules with fit are kept for less time: the budget has no room for older ones", "since",
			time.UnixMicro(row.FitUS).UTC().Format(time.RFC3339))
	}
	return nil
}

// deleteOutBodies deletes bodies of records that are out, pruneRows of them in a transaction. The caller holds mu.
func (s *Store) deleteOutBodies(seqs []uint64) error {
	for len(seqs) > 0 {
		n := min(len(seqs), pruneRows)
		if err := s.inTx(func(tx *sql.Tx) error {
			for _, seq := range seqs[:n] {
				if _, err := tx.Exec("DELETE FROM bodies WHERE seq = ?", int64(seq)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return fmt.Errorf("delete bodies of records that are out: %w", err)
		}
		seqs = seqs[n:]
	}
	return nil
}
