package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
)

// metaSlice is the fact that says which part of the network an index holds.
const metaSlice = "slice"

// Slice is what SetSlice was given last; empty before the first.
func (s *Index) Slice(ctx context.Context) (text string, err error) {
	err = s.core.Reader.GetContext(ctx, &text, "SELECT value FROM meta WHERE key = ?", metaSlice)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("db: read the slice: %w", err)
	}
	return text, nil
}

// SetSlice keeps a description of the part of the network that the index holds.
func (s *Store) SetSlice(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return err
	}
	if _, err := s.writer.Exec("INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
		metaSlice, text); err != nil {
		return s.fail(fmt.Errorf("db: keep the slice: %w", err))
	}
	return nil
}

// Purge removes the links that keep is false for, and the bodies of their records, an account at a time, and returns
// how many went. It reads the whole index. Broken off, it has removed what it came to; to do it again removes the rest.
func (s *Store) Purge(
	ctx context.Context, keep func(did string, source Source, target string) bool,
) (removed int, err error) {
	for actor := uint64(1); ; actor++ {
		if ctx.Err() != nil {
			return removed, ctx.Err()
		}
		n, more, err := s.purge(actor, keep)
		removed += n
		if err != nil || !more {
			return removed, err
		}
	}
}

func (s *Store) purge(
	actor uint64, keep func(did string, source Source, target string) bool,
) (removed int, more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return 0, false, err
	}
	s.lookAtDisk()
	if s.room.paused.Load() {
		return 0, false, fmt.Errorf("db: remove what the slice leaves out: %w: %s", ErrPaused, growDisk)
	}
	v := s.core.Snapshot()
	if actor > v.Actors {
		return 0, false, nil
	}
	f := s.newApplier(s.cfg.Now().UnixMicro())
	did := ""
	known := map[uint64]Source{}
	f.eachRecord(actor, func(key, value, rkey []byte, links []codec.RecordLink) {
		if did == "" {
			did = f.readDID(actor)
		}
		targets := s.readTargets(f, links)
		if f.d.err != nil {
			return
		}
		var stay, out []codec.RecordLink
		for i, l := range links {
			source, ok := known[l.Source]
			if !ok {
				source = f.readSource(l.Source)
				known[l.Source] = source
			}
			if keep(did, source, targets[i]) {
				stay = append(stay, l)
			} else {
				out = append(out, l)
			}
		}
		if len(out) == 0 {
			return
		}
		_, collection, _, _ := codec.DecodeRecordKey(key)
		r := logrow.Row{Op: OpUpdate, Actor: actor, Collection: collection, Rkey: rkey, Rev: f.d.rev(actor),
			Replaced: s.bodies.current(value)}
		if len(stay) == 0 {
			r.Op = OpDelete
		}
		f.change(key, value, stay, 0, actor, rkey, out, nil)
		f.log(r, out, nil)
		removed += len(out)
	})
	if f.d.err == nil && removed == 0 {
		return 0, true, nil
	}
	return removed, true, s.commit(f, progress{})
}

// readTargets returns the targets of links as text. All their names are committed. It can't be broken off: that would
// count as a fault of the store.
func (s *Store) readTargets(f *applier, links []codec.RecordLink) []string {
	keys := make([][]byte, len(links))
	for i := range links {
		keys[i] = links[i].Target
	}
	targets, err := s.core.TargetStrings(context.Background(), keys)
	f.d.fail(err)
	return targets
}

// readSource is the name of a source.
func (f *applier) readSource(id uint64) (source Source) {
	err := f.history.beside.QueryRow("SELECT nsid, path FROM sources JOIN collections ON collections.id = sources.collection WHERE sources.id = ?",
		int64(id)).Scan(&source.Collection, &source.Path)
	if err != nil {
		f.d.fail(fmt.Errorf("read the name of source %d: %w", id, err))
	}
	return source
}
