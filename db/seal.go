package db

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/lsm"
	"weft.dev/weft/db/segment"
)

// defaultSealBytes is the memory of mutable runs before they are sealed: at about 104 bytes per link some 240,000
// links. While they are written, as much gathers again, and a start after a crash replays both: about a second each.
const defaultSealBytes = 24 << 20

// sealIfLarge starts a seal when it is due. A writer that is a whole seal ahead waits for the running one: memory is
// bounded, and the upstream feels the back-pressure.
func (s *Store) sealIfLarge() {
	for s.core.Snapshot().MutableBytes() >= s.cfg.SealBytes {
		if s.sealing == nil {
			s.makeImmutable()
			return
		}
		if s.core.Snapshot().MutableBytes() < 2*s.cfg.SealBytes || s.Failed() != nil || s.hurry {
			return
		}
		s.sealed.Wait()
	}
}

// immutable is the runs that become a segment.
type immutable struct {
	row   index.ManifestRow
	runs  [3][]lsm.Run // by target, by record, by name; oldest first
	below int          // segments below them
	jobs  apply.SealedJobs
}

// makeImmutable takes the runs in memory out of compaction, and hands them to the sealer.
func (s *Store) makeImmutable() {
	v := *s.core.Snapshot()
	names := s.state.NameBounds()
	fz := &immutable{below: len(v.Files.Files), row: index.ManifestRow{
		FromSeq: v.Sealed + 1, ToSeq: v.Seq, Linking: v.Linking,
		Actors: names.Actors, Collections: names.Collections, Sources: names.Sources,
	}}
	fz.row.SetChecksums(v.Sums)
	for i, stack := range v.Stacks() {
		fz.runs[i] = stack.Runs[fz.below:len(stack.Runs):len(stack.Runs)]
		stack.NoCompact = len(stack.Runs)
	}
	fz.jobs = s.state.SealedJobs()
	s.sealing = fz
	s.core.SetSnapshot(&v)
	wake(s.sealWork)
}

// seal writes the immutable runs into a segment and enters it into the manifest. It runs beside the writer, and stops
// it only for the swap.
func (s *Store) seal() error {
	s.mu.Lock()
	fz := s.sealing
	s.mu.Unlock()
	if fz == nil {
		return nil
	}
	s.seals.busy.Store(true)
	defer s.seals.busy.Store(false)
	f, err := s.makeSegment(fz.row, fz.runs, fz.below == 0, 0)
	if errors.Is(err, errClosed) {
		return nil // the log has it all
	}
	if err != nil {
		return fmt.Errorf("db: seal log rows %d to %d: %w", fz.row.FromSeq, fz.row.ToSeq, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.sealed.Broadcast()
	if err := s.enter(f, nil, fz.jobs); err != nil {
		return fmt.Errorf("db: enter segment %s: %w", f.File, err)
	}
	below := s.core.Snapshot().Files.Files
	s.swap(append(slices.Clone(below), f), func(i int) int { return len(below) + len(fz.runs[i]) })
	s.sealing = nil
	s.seals.made(f)
	s.cfg.Logger.Info("sealed segment", "file", f.File, "links", f.Links, "bytes", f.Bytes, "log_seq", f.ToSeq)
	wake(s.compactWork)
	return nil
}

// sealReplayed seals the runs of a replay like those of a running store: a log of any length takes bounded memory.
func (s *Store) sealReplayed(v *index.Snapshot) (*index.Snapshot, error) {
	if v.MutableBytes() < 2*s.cfg.SealBytes {
		return v, nil
	}
	s.core.SetSnapshot(v)
	s.makeImmutable()
	if err := s.seal(); err != nil {
		return nil, err
	}
	return s.core.Snapshot(), nil
}

// makeSegment writes a segment and calls OnSegment. merged is the size of the segments that it replaces, in bytes; 0: it
// is of runs in memory. After an error no file is left, and the error wraps errNotWritten.
func (s *Store) makeSegment(row index.ManifestRow, runs [3][]lsm.Run, bottom bool, merged int64) (*index.File, error) {
	f, err := s.writeSegment(row, runs, bottom, merged)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotWritten, err)
	}
	if err := s.onSegment(f, merged > 0); err != nil {
		return nil, fmt.Errorf("%w: %w", errNotWritten, errors.Join(err, f.Close(), os.Remove(f.Path)))
	}
	return f, nil
}

// writeSegment writes a segment of runs, oldest first. With bottom, no older segment is below them.
func (s *Store) writeSegment(row index.ManifestRow, runs [3][]lsm.Run, bottom bool, merged int64) (*index.File, error) {
	name := fmt.Sprintf("%d-%d-%s.weft", row.FromSeq, row.ToSeq, rand.Text()[:12])
	path := filepath.Join(s.cfg.Dir, "segments", name)
	if merged > 0 {
		s.room.growing.Store(&growingFile{path, merged})
		defer s.room.growing.Store(nil)
	}
	meta := s.segmentMeta(&row)
	var inputs []segment.Input
	for i, id := range index.RunIDs {
		entries, err := lsm.NewCompactionIterator(index.RunKinds[id].Keyspace, runs[i], bottom)
		if err != nil {
			return nil, err
		}
		input := segment.Input{ID: id, Kind: index.RunKinds[id], Entries: &untilClosed{entries, s, 0}}
		if id == index.RunTargets {
			input.Entries = &newestRank{input.Entries, meta, 0}
		}
		inputs = append(inputs, input)
	}
	row.Links = 0
	for _, r := range runs[0] {
		row.Links += r.Total()
	}
	info, err := segment.Write(path, meta, inputs, segment.Options{Failpoint: s.cfg.Failpoint})
	if err != nil {
		return nil, err
	}
	row.File, row.Bytes, row.Checksum, row.CreatedUS = name, info.Bytes, info.Checksum, s.cfg.Now().UnixMicro()
	f, err := s.core.OpenSegment(row)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return f, nil
}

// newestRank notes the newest rank of the entries by target that go through it, in a segment's meta data: at the end,
// before segment.Write writes them. An account's feed passes segments over by it, so it counts removals too, and it is
// no bound that follows from the time of events: that is any time.
type newestRank struct {
	segment.Entries
	meta   map[string]string
	newest uint64
}

func (n *newestRank) Next() (bool, error) {
	more, err := n.Entries.Next()
	if err != nil {
		return false, err
	}
	if !more {
		n.meta[index.NewestRank] = strconv.FormatUint(n.newest, 10)
		return false, nil
	}
	key := n.Key()
	_, position, err := codec.DecodeID(key[codec.TargetLen(key):])
	if err != nil {
		return false, fmt.Errorf("db: link key %x: %w", key, err)
	}
	p, _, err := codec.DecodePosition(position)
	if err != nil {
		return false, fmt.Errorf("db: link key %x: %w", key, err)
	}
	n.newest = max(n.newest, p.Rank)
	return true, nil
}

// segmentMeta returns the meta data in a segment's header, but for what newestRank adds.
func (s *Store) segmentMeta(row *index.ManifestRow) map[string]string {
	meta := map[string]string{
		"from_seq": strconv.FormatUint(row.FromSeq, 10),
		"to_seq":   strconv.FormatUint(row.ToSeq, 10),
		"instance": s.core.Instance,
	}
	if sums := row.Checksums(); sums.Known {
		meta[logrow.LogChecksum], meta[logrow.NamesChecksum] = sums.LogText(), sums.NamesText()
	}
	return meta
}

// onSegment hands a new segment to the replicator.
func (s *Store) onSegment(f *index.File, merged bool) error {
	if s.cfg.OnSegment == nil {
		return nil
	}
	if err := s.cfg.OnSegment(f.Path, merged); err != nil {
		return fmt.Errorf("db: keep segment %s: %w", f.File, err)
	}
	return nil
}

// enter enters a segment into the manifest: a compacted one in place of its inputs, a sealed one with the jobs as of
// its newest row.
func (s *Store) enter(f *index.File, replaced []*index.File, jobs apply.SealedJobs) error {
	if err := s.Failed(); err != nil {
		return err // a commit that failed may have left the file of the database in any state
	}
	if err := s.failpoint("enter"); err != nil {
		return err
	}
	tx, err := s.writer.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for _, old := range replaced {
		if _, err := tx.Exec("DELETE FROM segments WHERE id = ?", int64(old.ID)); err != nil {
			return err
		}
	}
	if replaced == nil {
		if err := jobs.Write(tx); err != nil {
			return err
		}
	}
	if err := insertSegment(tx, f); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	return s.failpoint("entered")
}

// insertSegment inserts a segment's row into the manifest.
func insertSegment(tx *sql.Tx, f *index.File) error {
	res, err := tx.Exec(`INSERT INTO segments (file, level, from_seq, to_seq, links, linking, actors, collections, sources,
		bytes, checksum, created_us, log_checksum, names_checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, f.File, f.Level, int64(f.FromSeq), int64(f.ToSeq),
		f.Links, f.Linking, int64(f.Actors), int64(f.Collections), int64(f.Sources), f.Bytes, f.Checksum, f.CreatedUS,
		f.LogChecksum, f.NamesChecksum)
	if err != nil {
		return err
	}
	id, err := res.LastInsertId()
	f.ID = uint64(id)
	return err
}

// swap publishes the present snapshot with other files.
func (s *Store) swap(files []*index.File, drop func(i int) int) {
	s.core.PublishSnapshot(s.core.WithFiles(s.core.Snapshot(), files, drop))
}

// failpoint calls the test's failpoint.
func (s *Index) failpoint(name string) error {
	if s.cfg.Failpoint == nil {
		return nil
	}
	return s.cfg.Failpoint(name)
}
