package db

import (
	"bytes"
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

// Purge removes the links that keep is false for, and the bodies of records that have none left, in transactions of as
// many records as a step of a job has, and returns how many links went. It reads the whole index. Broken off, it has removed what it came to;
// to do it again removes the rest.
func (s *Store) Purge(
	ctx context.Context, keep func(did string, source Source, target string) bool,
) (removed int, err error) {
	p := purge{keep: keep, targets: s.readTargets, sources: map[uint64]Source{}}
	for p.actor = 1; ; {
		if ctx.Err() != nil {
			return p.removed, ctx.Err()
		}
		more, err := s.purgeStep(&p)
		if err != nil || !more {
			return p.removed, err
		}
	}
}

// purge is the position of a Purge.
type purge struct {
	keep    func(did string, source Source, target string) bool
	targets func(*applier, []codec.RecordLink) []string
	sources map[uint64]Source // names by id
	actor   uint64
	after   []byte // the key of the account's last record that was read; nil: none
	removed int    // links
}

// purgeStep purges the next records of an account in a transaction, and moves p behind them. It returns false behind the
// last account.
func (s *Store) purgeStep(p *purge) (more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return false, err
	}
	s.lookAtDisk()
	if s.room.paused.Load() {
		return false, fmt.Errorf("db: remove what the slice leaves out: %w: %s", ErrPaused, growDisk)
	}
	if p.actor > s.core.Snapshot().Actors {
		return false, nil
	}
	f := s.newApplier(s.cfg.Now().UnixMicro())
	removed := p.removed
	ended := f.purge(p)
	if f.d.err != nil || p.removed > removed {
		err := s.commit(f, progress{})
		if err != nil {
			p.removed = removed
			return false, err
		}
	}
	if ended {
		p.actor++
		p.after = nil
	}
	return true, nil
}

// purge purges records of an account, as many as a step of a job changes and as a part of a batch has room for. It
// reports whether none is left.
func (f *applier) purge(p *purge) (ended bool) {
	from, to := codec.AccountRecords(p.actor)
	if p.after != nil {
		from = successor(p.after)
	}
	did := ""
	limit := f.state.config.JobRecords
	changed := 0
	seen := 0
	for w := f.walk(p.actor, from, to, false); w.next(); {
		if changed == limit || seen == limit*seenPerRecord || f.d.bytes >= commitBytes {
			return false
		}
		seen++
		p.after = bytes.Clone(w.key)
		if len(w.value) == 0 {
			continue
		}
		if did == "" {
			did = f.readDID(p.actor)
		}
		if f.purgeRecord(p, did, w) {
			changed++
		}
	}
	return true
}

// purgeRecord removes a record's links that the slice leaves out, and reports whether there were any.
func (f *applier) purgeRecord(p *purge, did string, w *recordWalk) bool {
	rkey, links := f.walked(w)
	targets := p.targets(f, links)
	if f.d.err != nil {
		return false
	}
	var stay, out []codec.RecordLink
	var text []byte
	for i, l := range links {
		source, ok := p.sources[l.Source]
		if !ok {
			source = f.readSource(l.Source)
			p.sources[l.Source] = source
		}
		target := targets[i]
		if isMisspelled(&text, l.Target) {
			target = string(text) // the slice is asked for the link that it becomes
		}
		if p.keep(did, source, target) {
			stay = append(stay, l)
		} else {
			out = append(out, l)
		}
	}
	if len(out) == 0 {
		return false
	}
	_, collection, _, _ := codec.DecodeRecordKey(w.key)
	// The change is weft's own: it ends no resync, and a record that keeps a link keeps its body.
	r := logrow.Row{Op: logrow.OpRewritten, Actor: p.actor, Collection: collection, Rkey: rkey, Rev: f.d.rev(p.actor)}
	body := codec.BodyRef(w.value)
	if len(stay) == 0 {
		r.Replaced = f.state.bodies.current(w.value)
		body = 0
	}
	f.change(w.key, w.value, stay, body, p.actor, rkey, out, nil)
	f.log(r, out, nil)
	p.removed += len(out)
	return true
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
