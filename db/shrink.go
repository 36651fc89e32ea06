package db

import (
	"fmt"
	"os"
	"time"
)

const (
	// shrinkPages is the number of pages that a step returns to the disk: 1 MiB, as much as a large commit writes.
	shrinkPages = 256
	// One in sparePart of the pages of weft.db stays free for the next rows, in addition to the pages of a seal's log
	// rows. A file that shrinks and grows again causes writes both times.
	sparePart = 8
)

// vacuumMode returns the URI parameter that gives a new weft.db auto_vacuum; empty: the file exists. The mode of a
// database with tables can't be changed, and SQLite would write page 1 nevertheless.
func vacuumMode(path string) string {
	info, err := os.Stat(path)
	if err == nil && info.Size() > 0 {
		return ""
	}
	return "&_pragma=auto_vacuum(INCREMENTAL)"
}

// shrinkStep returns some free pages of weft.db to the disk if far more are free than the next log rows need. more
// means that others are left. A weft.db from before auto_vacuum reuses its free pages and keeps its size.
func (s *Store) shrinkStep() (more bool, err error) {
	began := time.Now()
	more, err = s.shrinkSome()
	return err == nil && more && s.rest(time.Since(began)), err
}

func (s *Store) shrinkSome() (more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.mayPrune() {
		return false, nil
	}
	var mode, free, pages, size int64
	if err := s.writer.QueryRow("SELECT * FROM pragma_auto_vacuum, pragma_freelist_count, pragma_page_count, pragma_page_size").
		Scan(&mode, &free, &pages, &size); err != nil {
		return false, err
	}
	const incremental = 2
	spare := int64(s.cfg.SealBytes)/size + pages/sparePart
	if !s.shrinking && free > 2*spare {
		s.shrinking = true
	}
	s.shrinking = s.shrinking && mode == incremental && free > spare
	if !s.shrinking {
		return false, nil
	}
	if err := s.failpoint("shrink"); err != nil {
		return false, err
	}
	if _, err := s.writer.Exec(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", min(free-spare, shrinkPages))); err != nil {
		return false, err
	}
	s.checkpointIfDue()
	return true, nil
}
