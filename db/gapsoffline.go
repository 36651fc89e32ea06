package db

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strconv"
)

// ListGaps lists all gaps of a data directory, oldest first, also of one that a weft has open.
func ListGaps(ctx context.Context, dir string) ([]Gap, error) {
	r, err := openReadOnly(dir, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return r.AllGaps(ctx)
}

// RetryGaps is Store.RetryGaps for a data directory that no weft has open.
func RetryGaps(dir string, id int64) (n int64, err error) {
	r, err := openReadOnly(dir, true)
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }()
	n, err = r.countOpenGaps(id)
	if err != nil {
		return 0, err
	}
	uri, err := fileURI(filepath.Join(dir, "weft.db"))
	if err != nil {
		return 0, err
	}
	writer, err := sql.Open("sqlite", uri+"?_txlock=immediate&_pragma=synchronous(FULL)&_pragma=busy_timeout("+
		strconv.FormatInt(busyTimeout.Milliseconds(), 10)+")")
	if err != nil {
		return 0, fmt.Errorf("db: %w", err)
	}
	defer func() { _ = writer.Close() }()
	if _, err := writer.Exec(retryGaps, id); err != nil {
		return 0, fmt.Errorf("db: change gaps: %w", err)
	}
	return n, nil
}
