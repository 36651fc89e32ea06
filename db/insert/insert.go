// Package insert inserts rows into a table of a database, many per statement.
package insert

import (
	"database/sql"
	"strings"
)

// Inserter inserts rows into one table, many per statement: a statement costs more than a row.
type Inserter struct {
	one, some, many *sql.Stmt
	columns         int
	args            []any
}

const (
	// Rows is the number of rows of a long statement. More rows bring no measurable gain.
	Rows = 64
	// someRows is the number of rows of the statements for the rest: a batch of the live stream has a few dozen rows.
	someRows = 8
)

// Prepare returns the inserter of a table, which is given with its columns. Closing the database closes it.
func Prepare(db *sql.DB, table string) (*Inserter, error) {
	columns := strings.Count(table, ",") + 1
	values := "(" + strings.TrimSuffix(strings.Repeat("?,", columns), ",") + ")"
	in := &Inserter{columns: columns}
	for _, stmt := range []struct {
		into **sql.Stmt
		rows int
	}{{&in.one, 1}, {&in.some, someRows}, {&in.many, Rows}} {
		var err error
		*stmt.into, err = db.Prepare("INSERT INTO " + table + " VALUES " +
			strings.TrimSuffix(strings.Repeat(values+",", stmt.rows), ","))
		if err != nil {
			return nil, err
		}
	}
	return in, nil
}

// Put queues a row, and inserts a full statement.
func (in *Inserter) Put(tx *sql.Tx, values ...any) error {
	in.args = append(in.args, values...)
	if len(in.args) < in.columns*Rows {
		return nil
	}
	_, err := tx.Stmt(in.many).Exec(in.args...)
	in.args = in.args[:0]
	return err
}

// Flush inserts the queued rows.
func (in *Inserter) Flush(tx *sql.Tx) error {
	args := in.args
	in.args = in.args[:0]
	for _, stmt := range []struct {
		*sql.Stmt
		rows int
	}{{in.some, someRows}, {in.one, 1}} {
		n := in.columns * stmt.rows
		if len(args) < n {
			continue
		}
		s := tx.Stmt(stmt.Stmt)
		for ; len(args) >= n; args = args[n:] {
			if _, err := s.Exec(args[:n]...); err != nil {
				return err
			}
		}
	}
	return nil
}
