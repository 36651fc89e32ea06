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
	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/lsm"
	"weft.dev/weft/db/segment"
)

// defaultSealBytes is the memory of mutable runs at which they are sealed: about 240,000 links of 104 bytes. While they
// are written, as many new links may gather. A start after a crash replays both: about a second each.
const defaultSealBytes = 24 << 20

// sealIfLarge starts a seal when it is due. A writer that is a whole seal ahead waits for the running seal. So memory
// is bounded, and the back-pressure reaches the upstream.
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

// immutable holds the runs that become a segment.
type immutable struct {
	row   index.ManifestRow
	runs  [3][]lsm.Run // by target, by record, by name; oldest first
	below int          // number of segments below them
	jobs  apply.SealedJobs

	outRecords int64 // Store.outRecords when the row was made
}

// makeImmutable excludes the runs in memory from compaction, and passes them to the worker that seals.
func (s *Store) makeImmutable() {
	v := *s.core.Snapshot()
	names := s.state.NameBounds()
	fz := &immutable{below: len(v.Files.Files), row: index.ManifestRow{
		FromSeq: v.Sealed + 1, ToSeq: v.Seq, Linking: v.Linking,
		Actors: names.Actors, Collections: names.Collections, Sources: names.Sources,
	}}
	fz.row.SetChecksums(v.Sums)
	for i, tree := range v.Trees() {
		fz.runs[i] = tree.Runs[fz.below:len(tree.Runs):len(tree.Runs)]
		tree.NoCompact = len(tree.Runs)
	}
	fz.jobs = s.state.SealedJobs()
	fz.outRecords = s.outRecords
	s.sealing = fz
	s.core.SetSnapshot(&v)
	wake(s.sealWork)
}

// seal writes the immutable runs into a segment and adds it to the manifest. It runs concurrently with the writer, and
// blocks it only for the swap.
func (s *Store) seal() error {
	s.mu.Lock()
	fz := s.sealing
	s.mu.Unlock()
	if fz == nil {
		return nil
	}
	s.seals.busy.Store(true)
	defer s.endSeal()
	f, gone, err := s.makeSegment(segmentPlan{row: fz.row, runs: fz.runs, bottom: fz.below == 0})
	if errors.Is(err, errClosed) {
		return nil // the log has all of it
	}
	if err != nil {
		return fmt.Errorf("db: seal log rows %d to %d: %w", fz.row.FromSeq, fz.row.ToSeq, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	f.Linking = max(f.Linking-(s.outRecords-fz.outRecords)-gone, 0)
	if err := s.enter(f, nil, fz.jobs, gone); err != nil {
		return fmt.Errorf("db: enter segment %s: %w", f.File, err)
	}
	s.forgetRecords(gone)
	below := s.core.Snapshot().Files.Files
	s.swap(append(slices.Clone(below), f), func(i int) int { return len(below) + len(fz.runs[i]) })
	s.sealing = nil
	s.seals.made(f)
	s.cfg.Logger.Info("sealed segment", "file", f.File, "links", f.Links, "bytes", f.Bytes, "log_seq", f.ToSeq)
	wake(s.compactWork)
	return nil
}

// endSeal wakes those who wait for a seal, however it ended.
func (s *Store) endSeal() {
	s.seals.busy.Store(false)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sealed.Broadcast()
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

// segmentPlan says what a segment is written from.
type segmentPlan struct {
	row     index.ManifestRow // without the file's name, size and checksum
	runs    [3][]lsm.Run      // of each tree, oldest first
	bottom  bool              // no older segment is below them
	merged  int64             // size of the segments that it replaces, in bytes; 0: it consists of runs in memory
	between func() error      // called between entries, every yieldEvery of them; nil: nothing is compacted
}

// makeSegment writes a segment and calls OnSegment. gone is that of writeSegment. After an error no file is left, and
// the error wraps errNotWritten.
func (s *Store) makeSegment(p segmentPlan) (f *index.File, gone int64, err error) {
	f, gone, err = s.writeSegment(p)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errNotWritten, err)
	}
	if err := s.onSegment(f, p.merged > 0); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errNotWritten, errors.Join(err, f.Close(), os.Remove(f.Path)))
	}
	return f, gone, nil
}

// writeSegment writes a segment without the entries that are out. gone is the number of entries by record that were.
func (s *Store) writeSegment(p segmentPlan) (f *index.File, gone int64, err error) {
	row := p.row
	name := fmt.Sprintf("%d-%d-%s.weft", row.FromSeq, row.ToSeq, rand.Text()[:12])
	path := filepath.Join(s.cfg.Dir, "segments", name)
	if p.merged > 0 {
		outer := s.room.growing.Load()
		s.room.growing.Store(&growingFile{path, p.merged, outer})
		defer s.room.growing.Store(outer)
	}
	var pacer *disk.Pacer // none for a seal: a commit may wait for it
	if p.merged > 0 {
		pacer = s.cfg.Pacer
	}
	meta := s.segmentMeta(&row)
	var inputs []segment.Input
	out := s.newOutFilter()
	for i, id := range index.RunIDs {
		entries, err := lsm.NewCompactionIterator(index.RunKinds[id].Keyspace, p.runs[i], p.bottom)
		if err != nil {
			return nil, 0, err
		}
		entries.Keep(out.kept(id))
		input := segment.Input{ID: id, Kind: index.RunKinds[id], Entries: s.newYielding(entries, pacer, p.between)}
		switch id {
		case index.RunTargets:
			input.Entries = index.NoteRanks(input.Entries, meta)
		case index.RunRecords:
			out.records = entries
		}
		inputs = append(inputs, input)
	}
	info, err := segment.Write(path, meta, inputs, segment.Options{Failpoint: s.cfg.Failpoint, Canceled: s.closedError,
		Pacer: pacer, ListOver: s.cfg.SetsOver})
	if err != nil {
		return nil, 0, err
	}
	row.File, row.Bytes, row.Checksum, row.CreatedUS = name, info.Bytes, info.Checksum, s.cfg.Now().UnixMicro()
	f, err = s.core.OpenSegment(row)
	if err != nil {
		return nil, 0, errors.Join(err, os.Remove(path))
	}
	f.Links = f.Run(index.RunTargets).Total()
	if err := out.end(); err != nil {
		return nil, 0, errors.Join(err, f.Close(), os.Remove(path))
	}
	return f, int64(out.records.Gone()), nil
}

// segmentMeta returns the meta data in a segment's header, without those of index.NoteRanks.
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

// onSegment passes a new segment to Config.OnSegment.
func (s *Store) onSegment(f *index.File, merged bool) error {
	if s.cfg.OnSegment == nil {
		return nil
	}
	if err := s.cfg.OnSegment(f.Path, merged); err != nil {
		return fmt.Errorf("db: pass segment %s to the replicator: %w", f.File, err)
	}
	return nil
}

// enter adds a segment to the manifest: a compacted one in place of its inputs, a sealed one with the jobs as of its
// newest row. It subtracts gone from the records of later segments.
func (s *Store) enter(f *index.File, replaced []*index.File, jobs apply.SealedJobs, gone int64) error {
	if err := s.Failed(); err != nil {
		return err // after a failed commit the state of the database file is unknown
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
	if gone > 0 {
		if _, err := tx.Exec("UPDATE segments SET linking = max(linking - ?, 0) WHERE from_seq > ?", gone,
			int64(f.ToSeq)); err != nil {
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
		bytes, checksum, created_us, log_checksum, names_checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		f.File, f.Level, int64(f.FromSeq), int64(f.ToSeq), f.Links, f.Linking,
		int64(f.Actors), int64(f.Collections), int64(f.Sources), f.Bytes, f.Checksum, f.CreatedUS,
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
