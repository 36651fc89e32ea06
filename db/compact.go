package db

import (
	"errors"
	"fmt"
	"slices"

	"weft.dev/weft/db/index"
	"weft.dev/weft/db/lsm"
)

// compactionFanOut is the number of adjacent segments of a level that one compaction replaces. Each link is written
// once for each level: with 8, a thousand million links in segments of 240,000 take four levels, and a look-up meets
// about 15 files.
const compactionFanOut = 8

// compactAll runs compactions until none is due.
func (s *Store) compactAll() error {
	for !s.isClosed() {
		v := s.core.Acquire()
		files := pickCompaction(v.Files.Files)
		if len(files) == 0 {
			s.core.Release(v)
			return nil
		}
		if !s.awaitCompactionRoom(fileBytes(files)) {
			s.core.Release(v)
			return nil
		}
		err := s.compact(v, files)
		s.core.Release(v)
		if errors.Is(err, errClosed) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fileBytes returns the size of segments.
func fileBytes(files []*index.File) (n int64) {
	for _, f := range files {
		n += f.Bytes
	}
	return n
}

// pickCompaction picks the segments to compact: the oldest of the lowest level that has enough of them. Levels fall
// from the oldest segment to the newest: those of one level are adjacent.
func pickCompaction(files []*index.File) []*index.File {
	for end := len(files); end > 0; {
		start := end - 1
		for start > 0 && files[start-1].Level == files[end-1].Level {
			start--
		}
		if end-start >= compactionFanOut {
			return files[start : start+compactionFanOut]
		}
		end = start
	}
	return nil
}

// CompactionDue reports whether segments, oldest first, are due for a compaction.
func CompactionDue(rows []index.ManifestRow) bool {
	files := make([]*index.File, len(rows))
	for i, row := range rows {
		files[i] = &index.File{ManifestRow: row}
	}
	return len(pickCompaction(files)) > 0
}

// compact writes one segment in place of several adjacent ones, beside the writer, which stops only for the swap.
func (s *Store) compact(v *index.Snapshot, files []*index.File) error {
	s.compactions.busy.Store(true)
	defer s.compactions.busy.Store(false)
	first := files[0]
	last := files[len(files)-1]
	row := last.ManifestRow
	row.ID = 0
	row.FromSeq = first.FromSeq
	row.Level = last.Level + 1
	var runs [3][]lsm.Run
	for i, id := range index.RunIDs {
		for _, f := range files {
			runs[i] = append(runs[i], f.Run(id))
		}
	}
	merged, err := s.makeSegment(row, runs, first == v.Files.Files[0], fileBytes(files))
	if err != nil {
		return fmt.Errorf("db: compact log rows %d to %d: %w", row.FromSeq, row.ToSeq, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.enter(merged, files, nil); err != nil {
		return fmt.Errorf("db: enter segment %s: %w", merged.File, err)
	}
	now := s.core.Snapshot().Files.Files // newer ones may have come
	i := slices.Index(now, first)
	next := slices.Concat(now[:i], []*index.File{merged}, now[i+len(files):])
	s.core.Retire(files)
	s.swap(next, func(int) int { return len(now) })
	s.compactions.made(merged)
	s.cfg.Logger.Info("compacted segments", "file", merged.File, "from", len(files), "level", merged.Level, "links",
		merged.Links, "bytes", merged.Bytes)
	return nil
}
