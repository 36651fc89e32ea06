package db

import (
	"fmt"
	"math"
	"os"
)

const (
	// shrinkPages is the number of pages that a step returns to the disk: 1 MiB, as much as a large commit writes.
	shrinkPages = 256
	// One in sparePart of the pages of weft.db stays free for the next rows, in addition to the pages of a seal's log
	// rows until idleTicks have passed. A file that shrinks and grows again causes writes both times.
	sparePart = 8
	// idleTicks is the number of ticks of the pruning, one a minute, after which pages that were free at all of them count
	// as unused, so that a page is returned ten to twenty minutes after its last use. While a replay is under way, the
	// rows of a seal come and go within a minute.
	idleTicks = 10
)

// freePages is what the ticks of the pruning have seen of the free pages of weft.db.
type freePages struct {
	ticks int
	least int64 // pages that were free at each of them
}

// keep returns how many free pages weft.db keeps after another tick, at which so many of its pages are free; spare is
// what is kept at once.
func (f *freePages) keep(free, pages, spare int64) int64 {
	if f.ticks == 0 || free < f.least {
		f.least = free
	}
	f.ticks++
	idle := int64(0)
	if f.ticks >= idleTicks {
		idle = f.least
		f.ticks = 0
	}
	switch least := pages / sparePart; {
	case free > 2*spare:
		return spare
	case idle > 2*least:
		return free - idle + least
	}
	return free
}

// vacuumMode returns the URI parameter that gives a new weft.db auto_vacuum; empty: the file exists. The mode of a
// database with tables can't be changed, and SQLite would write page 1 nevertheless.
func vacuumMode(path string) string {
	info, err := os.Stat(path)
	if err == nil && info.Size() > 0 {
		return ""
	}
	return "&_pragma=auto_vacuum(INCREMENTAL)"
}

// shrink returns free pages of weft.db to the disk if far more are free than the next log rows need. A weft.db from
// before auto_vacuum reuses its free pages and keeps its size.
func (s *Store) shrink() error {
	keep, err := s.freeToKeep()
	for more := true; more && err == nil; {
		began := s.now()
		more, err = s.shrinkStep(keep)
		more = more && err == nil && s.restSince(began)
	}
	return err
}

// freeToKeep returns how many free pages weft.db keeps: all of them while the log may not be pruned.
func (s *Store) freeToKeep() (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mayPrune() {
		return math.MaxInt64, nil
	}
	free, pages, size, err := s.pages()
	if err != nil {
		return 0, err
	}
	return s.free.keep(free, pages, int64(s.cfg.SealBytes)/size+pages/sparePart), nil
}

// pages reads how many pages of weft.db SQLite can return, how many there are, and the bytes of one.
func (s *Store) pages() (free, pages, size int64, err error) {
	var mode int64
	err = s.writer.QueryRow(
		"SELECT * FROM pragma_auto_vacuum, pragma_freelist_count, pragma_page_count, pragma_page_size").
		Scan(&mode, &free, &pages, &size)
	const incremental = 2
	if mode != incremental {
		free = 0
	}
	return free, pages, size, err
}

// shrinkStep returns some free pages beyond those to keep. more means that others are left.
func (s *Store) shrinkStep(keep int64) (more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mayPrune() {
		return false, nil
	}
	free, _, _, err := s.pages()
	if err != nil || free <= keep {
		return false, err
	}
	if err := s.failpoint("shrink"); err != nil {
		return false, err
	}
	if _, err := s.writer.Exec(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", min(free-keep, shrinkPages))); err != nil {
		return false, err
	}
	s.checkpointIfDue()
	return true, nil
}
