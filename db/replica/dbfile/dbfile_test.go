package dbfile_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"weft.dev/weft/db/replica/dbfile"
)

// TestInstance: a file of WriteInstance, like a weft.db, names its index; of a file that is no database or is missing
// nothing is known, and no file is made beside it.
func TestInstance(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a ?%41.db")
	if err := dbfile.WriteInstance(path, "ABC"); err != nil {
		t.Fatal(err)
	}
	if instance, err := dbfile.Instance(t.Context(), path); instance != "ABC" || err != nil {
		t.Errorf("%q, %v", instance, err)
	}
	if err := dbfile.WriteInstance(path, "ABC"); err == nil {
		t.Error("it is written twice")
	}
	damaged := filepath.Join(dir, "damaged.db")
	if err := os.WriteFile(damaged, []byte("no database"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{damaged, filepath.Join(dir, "missing.db")} {
		if instance, err := dbfile.Instance(t.Context(), path); err == nil {
			t.Errorf("%s belongs to %q", path, instance)
		}
		if seq, err := dbfile.LastSeq(t.Context(), path); err == nil {
			t.Errorf("%s has log row %d", path, seq)
		}
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
		t.Errorf("%v, %v", files, err)
	}
}

// TestLastSeq: the newest log row counts though it was deleted.
func TestLastSeq(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "weft.db")
	run(t, path, "CREATE TABLE log (last INTEGER PRIMARY KEY AUTOINCREMENT)")
	for _, step := range []struct {
		query string
		want  uint64
	}{
		{"SELECT 1", 0},
		{"INSERT INTO log VALUES (4), (5)", 5},
		{"DELETE FROM log", 5},
		{"CREATE TABLE records (seq INTEGER PRIMARY KEY AUTOINCREMENT)", 5}, // schema 11 and before
		{"INSERT INTO records VALUES (7)", 7},
	} {
		run(t, path, step.query)
		if seq, err := dbfile.LastSeq(t.Context(), path); seq != step.want || err != nil {
			t.Errorf("after %q: %d, %v, want %d", step.query, seq, err, step.want)
		}
	}
}

// run runs a statement in a database that is closed afterwards.
func run(t *testing.T, path, query string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err == nil {
		_, err = db.Exec(query)
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestWAL: a WAL that has begun is read back, SQLite continues it with its salts, and a WAL of another form is none.
func TestWAL(t *testing.T) {
	t.Parallel()
	for _, size := range []int{512, 4096, 65536} {
		t.Run(fmt.Sprintf("pages of %d bytes", size), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "weft.db")
			run(t, path, fmt.Sprintf("PRAGMA page_size = %d; PRAGMA journal_mode = WAL", size)+
				"; CREATE TABLE t (n); INSERT INTO t VALUES (1)")
			if start, err := dbfile.ReadWALStart(path); !errors.Is(err, io.EOF) {
				t.Fatalf("without a WAL: %+v, %v", start, err)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			begun, err := dbfile.BeginWAL(path)
			if err != nil {
				t.Fatal(err)
			}
			if begun.Pages != uint32(len(text)/size) || !bytes.Equal(begun.First, text[:size]) {
				t.Errorf("it begins with %d pages, page 1 of %d bytes", begun.Pages, len(begun.First))
			}
			if _, err := dbfile.BeginWAL(path); !errors.Is(err, os.ErrExist) {
				t.Errorf("a second WAL: %v", err)
			}
			same(t, path, begun)
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			db.SetMaxOpenConns(1)
			var n int
			if _, err := db.Exec("INSERT INTO t VALUES (2)"); err != nil {
				t.Fatal(err)
			}
			if err := db.QueryRow("SELECT sum(n) FROM t").Scan(&n); err != nil || n != 3 {
				t.Errorf("%d, %v", n, err)
			}
			same(t, path, begun) // SQLite has appended to it
			if err := os.WriteFile(path+"-wal", make([]byte, 40), 0o600); err != nil {
				t.Fatal(err)
			}
			if start, err := dbfile.ReadWALStart(path); !errors.Is(err, io.EOF) {
				t.Errorf("a WAL of another form: %+v, %v", start, err)
			}
		})
	}
}

// same compares the start of the WAL with that of BeginWAL.
func same(t *testing.T, path string, want dbfile.WALStart) {
	t.Helper()
	got, err := dbfile.ReadWALStart(path)
	if err != nil || got.Salt != want.Salt || got.Pages != want.Pages || !bytes.Equal(got.First, want.First) {
		t.Errorf("the WAL has the salts %v and %d pages (%v), want %v and %d", got.Salt, got.Pages, err, want.Salt,
			want.Pages)
	}
}
