package pagecopy_test

import (
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"weft.dev/weft/db"
	"weft.dev/weft/db/dbtest"
	"weft.dev/weft/db/pagecopy"
)

// TestNeverTorn: a reader sees the pages of one change, and never a mix of two.
func TestNeverTorn(t *testing.T) {
	t.Parallel()
	dir, to := t.TempDir(), t.TempDir()
	base, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "weft.db")+"?_pragma=journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	// Each row holds the number of the change. The rows fill many pages; most changes do not write page 1.
	if _, err := base.Exec(`CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER, filler TEXT);
		INSERT INTO t WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 200)
			SELECT i, 0, hex(zeroblob(500)) FROM c`); err != nil {
		t.Fatal(err)
	}
	src, c := dbtest.NewPageSource(t, dir), dbtest.OpenCopy(t, to)
	defer c.Close()
	if err := src.Change(0).To(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	reader, err := sql.Open("sqlite", "file:"+filepath.Join(to, "weft.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	reader.SetMaxOpenConns(1)
	var ended atomic.Bool
	torn := make(chan error, 1)
	go func() {
		for !ended.Load() {
			var least, most, change int
			if err := reader.QueryRow("SELECT min(n), max(n), user_version - 1 FROM t, pragma_user_version").Scan(&least, &most,
				&change); err != nil || least != most || most != change {
				torn <- fmt.Errorf("rows of the changes %d to %d at %d: %w", least, most, change, err)
				return
			}
		}
		torn <- nil
	}()
	for range 100 {
		if _, err := base.Exec("UPDATE t SET n = n + 1"); err != nil {
			t.Fatal(err)
		}
		if err := src.Change(1+rand.IntN(50)).To(t.Context(), c); !errors.Is(err, dbtest.ErrBroken) {
			t.Fatal(err)
		}
		if err := src.Change(0).To(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	ended.Store(true)
	if err := <-torn; err != nil {
		t.Error(err)
	}
}

// TestRefuses: an index of one's own is not overwritten, a copy has one follower, and its pages keep their size.
func TestRefuses(t *testing.T) {
	t.Parallel()
	own, to := t.TempDir(), t.TempDir()
	s, err := db.Open(db.Config{Dir: own})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := pagecopy.Open(own); err == nil ||
		!strings.Contains(err.Error(), "use an empty directory for the follower") {
		t.Errorf("an index is overwritten: %v, %v", c, err)
	}
	src, c := dbtest.NewPageSource(t, own), dbtest.OpenCopy(t, to)
	defer c.Close()
	if _, err := pagecopy.Open(to); err == nil || !strings.Contains(err.Error(), "another weft has") {
		t.Errorf("two followers in one directory: %v", err)
	}
	if err := src.Change(3).To(t.Context(), c); !errors.Is(err, dbtest.ErrBroken) { // the first change breaks off
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = dbtest.OpenCopy(t, to)
	if err := src.Change(0).To(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	odd := src.Change(0)
	odd.PageSize = 8192
	if err := odd.To(t.Context(), c); err == nil || !strings.Contains(err.Error(), "8192") {
		t.Errorf("pages of another size: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}
