package db

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// ListGaps lists all gaps of a data directory, oldest first, also of one that a weft has open.
func ListGaps(ctx context.Context, dir string) ([]Gap, error) {
	path := filepath.Join(dir, "weft.db")
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("db: %s: %w", dir, ErrNoIndex)
	}
	s := &Store{}
	if err := s.openReader(path); err != nil {
		return nil, fmt.Errorf("db: %s: %w", path, err)
	}
	defer s.reader.Close()
	return s.AllGaps(ctx)
}

// RetryGaps is Store.RetryGaps for a data directory that no weft has open.
func RetryGaps(dir string, id int64) (n int64, err error) {
	s, err := openOffline(dir)
	if err != nil {
		return 0, err
	}
	defer s.closeFiles()
	uri, err := fileURI(filepath.Join(dir, "weft.db"))
	if err != nil {
		return 0, err
	}
	if s.writer, err = sql.Open("sqlite", uri+"?_txlock=immediate&_pragma=synchronous(FULL)&_pragma=busy_timeout("+
		strconv.FormatInt(busyTimeout.Milliseconds(), 10)+")"); err != nil {
		return 0, fmt.Errorf("db: %w", err)
	}
	return s.RetryGaps(id)
}
