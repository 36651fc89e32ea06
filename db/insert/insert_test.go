package insert

import (
	"database/sql"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite"
)

// TestInserter: all rows that were put are in the table once after a flush, whatever statements their number takes.
func TestInserter(t *testing.T) {
	t.Parallel()
	base, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	base.SetMaxOpenConns(1)
	if _, err := base.Exec("CREATE TABLE numbers (n INTEGER PRIMARY KEY, square INTEGER)"); err != nil {
		t.Fatal(err)
	}
	in, err := Prepare(base, "numbers (n, square)")
	if err != nil {
		t.Fatal(err)
	}
	for _, rows := range []int{0, 1, someRows - 1, someRows, someRows + 1, Rows - 1, Rows, Rows + 1,
		3*Rows + 2*someRows + 3} {
		tx, err := base.Begin()
		if err != nil {
			t.Fatal(err)
		}
		for i := range rows {
			if err := in.Put(tx, i, i*i); err != nil {
				t.Fatal(rows, err)
			}
		}
		if err := in.Flush(tx); err != nil {
			t.Fatal(rows, err)
		}
		var n, wrong int
		if err := tx.QueryRow("SELECT count(*), count(*) FILTER (WHERE square <> n * n OR n >= ?) FROM numbers", rows).
			Scan(&n, &wrong); err != nil || n != rows || wrong != 0 {
			t.Errorf("%d rows are %d, of them %d wrong, %v", rows, n, wrong, err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
}
