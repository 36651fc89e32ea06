package db

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Space is the disk usage of an open index, and the free space beside it.
type Space struct {
	Database int64   // bytes of weft.db
	WAL      int64   // of its write-ahead log
	Segments int64   // of the segment files
	Levels   []Level // the segments by level, including levels without files

	Written Written

	LogOldest, LogNewest uint64 // rows of the log; 0: none
	Unsealed             int64  // log rows that no segment has

	// Bytes of the file system without those reserved for root, or of the budget if the budget has less room; 0 and 0:
	// not known.
	Free, Total int64
	Budget      int64 // bytes that all files may take; 0: no budget
	Reserve     int64 // free bytes below which indexing pauses

	PerDay   int64         // growth of the files in a day, in bytes
	Measured time.Duration // the time over which PerDay is measured, a day at most; 0: not known yet
	FullAt   time.Time     // when Free will be down to Reserve; zero: not known, never, or more than ten years away
}

// Level sums up the segments of a level of compaction.
type Level struct {
	Files int
	Links int64
	Bytes int64
}

// Written counts the bytes that the store has written since it was opened, without those of a replicator.
type Written struct {
	WAL        int64 // appended to the write-ahead log
	Checkpoint int64 // moved from it into weft.db, at most: a page that the WAL has twice is moved once
	Sealed     int64 // segments from seals
	Compacted  int64 // segments from compactions
}

// Amplification returns the bytes written for each sealed byte: all data ends in segments. ok is false before the first
// seal.
func (w *Written) Amplification() (times float64, ok bool) {
	if w.Sealed == 0 {
		return 0, false
	}
	return float64(w.WAL+w.Checkpoint+w.Sealed+w.Compacted) / float64(w.Sealed), true
}

// Space reads the sizes of the files, and notes them for the growth. It costs three system calls and a look-up of the
// log's ends.
func (s *Index) Space(ctx context.Context) (Space, error) {
	v := s.core.Acquire()
	defer s.core.Release(v)
	var sp Space
	for _, f := range v.Files.Files {
		for len(sp.Levels) <= f.Level {
			sp.Levels = append(sp.Levels, Level{})
		}
		l := &sp.Levels[f.Level]
		l.Files = l.Files + 1
		l.Links = l.Links + f.Links
		l.Bytes = l.Bytes + f.Bytes
		sp.Segments += f.Bytes
	}
	sp.Unsealed = int64(v.Seq - v.Sealed)
	sp.Written = Written{WAL: s.walBytes.Load(), Checkpoint: s.checkpointBytes.Load(), Sealed: s.seals.bytes.Load(),
		Compacted: s.compactions.bytes.Load()}
	var err error
	sp.LogOldest, sp.LogNewest, err = s.LogRange(ctx)
	if err != nil {
		return Space{}, err
	}
	for _, file := range []struct {
		path string
		into *int64
	}{{filepath.Join(s.cfg.Dir, "weft.db"), &sp.Database}, {filepath.Join(s.cfg.Dir, "weft.db-wal"), &sp.WAL}} {
		info, err := os.Stat(file.path)
		switch {
		case err == nil:
			*file.into = info.Size()
		case !errors.Is(err, fs.ErrNotExist): // a missing WAL has no bytes
			return Space{}, fmt.Errorf("db: read the size of a file: %w", err)
		}
	}
	sp.Free, sp.Total = s.Disk()
	if _, total, err := s.cfg.Disk(s.cfg.Dir); err == nil {
		sp.Budget = s.cfg.Budget.Limit(total)
	}
	sp.Reserve = s.room.reserve.Load()
	s.growth.Note(s.cfg.Now(), sp.Database+sp.WAL+sp.Segments)
	perDay, over := s.growth.Rate()
	sp.PerDay = int64(perDay)
	sp.Measured = over
	if sp.Total > 0 && !s.fits() {
		sp.FullAt = s.growth.FullAt(s.cfg.Now(), sp.Free-sp.Reserve)
	}
	return sp, nil
}

// Disk returns the free and the total bytes of the data directory's disk, or of its budget if the budget has less room;
// 0 and 0: not known.
func (s *Index) Disk() (free, total int64) {
	room, err := s.diskRoom()
	if err != nil {
		return 0, 0
	}
	return room.free, room.total
}
