package dbtest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	"weft.dev/weft/db/pagecopy"
)

// PageSource gives the changes of a database as a replica does: pages as they were at some commit, and later those that
// have changed since.
type PageSource struct {
	Position uint64 // of the newest change that was whole

	t      *testing.T
	db     *sql.DB
	images map[uint32][]byte
}

// NewPageSource returns the source of the weft.db in a directory.
func NewPageSource(t *testing.T, dir string) *PageSource {
	t.Helper()
	base, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = base.Close() })
	return &PageSource{t: t, db: base, images: map[uint32][]byte{}}
}

// Change returns what was committed since the last change that was whole. fail is after how many pages it breaks off;
// 0: never.
func (s *PageSource) Change(fail int) PageChange {
	s.t.Helper()
	rows, err := s.db.Query("SELECT pgno, data FROM sqlite_dbpage")
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	c := PageChange{fail: fail, Change: pagecopy.Change{Position: s.Position + 1}}
	for rows.Next() {
		var p page
		if err := rows.Scan(&p.number, &p.data); err != nil {
			s.t.Fatal(err)
		}
		c.PageSize = len(p.data)
		c.Pages = p.number
		if bytes.Equal(s.images[p.number], p.data) {
			continue
		}
		c.pages = append(c.pages, p)
		if fail == 0 {
			s.images[p.number] = p.data
		}
	}
	if err := rows.Err(); err != nil {
		s.t.Fatal(err)
	}
	if fail == 0 {
		s.Position++
	}
	return c
}

// PageChange is a change with its pages. A test may make it fail before the last page is written.
type PageChange struct {
	pagecopy.Change
	pages []page
	fail  int // after so many
}

type page struct {
	number uint32
	data   []byte
}

// ErrBroken is the error of a change that breaks off.
var ErrBroken = errors.New("the line is broken")

// To makes the change in a copy.
func (c PageChange) To(ctx context.Context, to *pagecopy.Copy) error {
	tx, err := to.Begin(ctx, c.Change)
	if err != nil {
		return err
	}
	for i, p := range c.pages {
		if c.fail == i+1 {
			break
		}
		if err := tx.Put(p.number, p.data); err != nil {
			return err
		}
	}
	if c.fail > 0 {
		tx.Rollback()
		return ErrBroken
	}
	return tx.Commit()
}

// OpenCopy opens or creates a copy in a directory.
func OpenCopy(t *testing.T, dir string) *pagecopy.Copy {
	t.Helper()
	c, err := pagecopy.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
