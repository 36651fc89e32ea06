package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"weft.dev/weft/db/apply"
)

// metaSlice is the fact that describes the part of the network that an index holds.
const metaSlice = "slice"

// Slice returns the description of the last SetSlice; empty before the first.
func (s *Index) Slice(ctx context.Context) (text string, err error) {
	err = s.core.Reader.GetContext(ctx, &text, "SELECT value FROM meta WHERE key = ?", metaSlice)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("db: read the slice: %w", err)
	}
	return text, nil
}

// SetSlice stores a description of the part of the network that the index holds.
func (s *Store) SetSlice(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return err
	}
	if _, err := s.writer.Exec("INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
		metaSlice, text); err != nil {
		return s.fail(fmt.Errorf("db: store the slice: %w", err))
	}
	return nil
}

// Purge removes the links for which keep returns false, and the bodies of records that have no link left. It returns
// the number of removed links. It reads the whole index, in transactions of as many records as a step of a job. An
// interrupted Purge has removed some of the links; the next one removes the rest.
func (s *Store) Purge(
	ctx context.Context, keep func(did string, source Source, target string) bool,
) (removed int, err error) {
	p := s.newPurge(keep)
	for {
		if ctx.Err() != nil {
			return p.Removed, ctx.Err()
		}
		more, err := s.purgeStep(p)
		if err != nil || !more {
			return p.Removed, err
		}
	}
}

// newPurge returns a purge of the whole index.
func (s *Store) newPurge(keep func(did string, source Source, target string) bool) *apply.Purge {
	return &apply.Purge{Actor: 1, Keep: keep, Targets: func(keys [][]byte) ([]string, error) {
		// The read ignores ctx: a cancel would count as a fault of the store.
		return s.core.TargetStrings(context.Background(), keys)
	}}
}

// purgeStep purges the next records of an account in a transaction. It returns false after the last account.
func (s *Store) purgeStep(p *apply.Purge) (more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return false, err
	}
	s.lookAtDisk()
	if s.room.paused.Load() {
		return false, fmt.Errorf("db: remove links outside the slice: %w: %s", ErrPaused, s.makeRoom())
	}
	if p.Actor > s.core.Snapshot().Actors {
		return false, nil
	}
	f := s.newPart(apply.Origin{TimeUS: s.cfg.Now().UnixMicro()})
	removed := p.Removed
	f.Purge(p)
	if f.Err() != nil || p.Removed > removed {
		err := s.commit(f, progress{})
		if err != nil {
			p.Removed = removed
			return false, err
		}
	}
	return true, nil
}
