package check

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/link"
)

// nameTable is a table of names and the query of its rows.
type nameTable struct {
	kind byte
	what string
	from string // a query of the columns id, collection and name
}

var nameTables = []nameTable{
	{'d', "account", "(SELECT id, 0 AS collection, did AS name FROM actors)"},
	{'c', "collection", "(SELECT id, 0 AS collection, nsid AS name FROM collections)"},
	{'s', "source", "(SELECT id, collection, path AS name FROM sources)"},
}

// names compares the rows of names with the order by name in both directions: each row has an entry with its id, and
// the numbers of rows and entries are equal. So no name has two ids and no id has two names.
func (c *checker) names(ctx context.Context) error {
	if !c.whole {
		c.report.Left = append(c.report.Left, "the names in segments")
		return c.loadIDs(ctx)
	}
	c.begin("names")
	rows := int64(0)
	for _, t := range nameTables {
		var n int64
		if err := c.s.Reader().GetContext(ctx, &n, "SELECT count(*) FROM "+t.from); err != nil {
			return err
		}
		rows += n
		if t.kind == 'd' && !c.o.All && n > int64(c.o.Sample) {
			for range c.o.Sample {
				id := c.rand.Uint64N(uint64(n)) + 1
				if err := c.nameRows(ctx, t, " WHERE id = ?", int64(id)); err != nil {
					return err
				}
			}
		} else if err := c.nameRows(ctx, t, ""); err != nil {
			return err
		}
	}
	looked := c.steps
	if err := c.loadIDs(ctx); err != nil {
		return err
	}
	if entries := int64(c.core.Snapshot().Names.Len()); entries != rows {
		c.found(KindName, mendDB, "%d names have a row, but %d have an entry in the order by name", rows, entries)
		if err := c.nameEntries(ctx); err != nil {
			return err
		}
	}
	c.checked("names", looked, fmt.Sprintf("of %d, each row against the order by name", rows))
	return nil
}

// nameRows looks up rows in the order by name.
func (c *checker) nameRows(ctx context.Context, t nameTable, where string, args ...any) error {
	rows, err := c.s.Reader().QueryContext(ctx, "SELECT id, collection, name FROM "+t.from+where, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var rowID, in int64
		var name string
		if err := rows.Scan(&rowID, &in, &name); err != nil {
			return err
		}
		if min(rowID, in) < 0 {
			c.found(KindName, mendDB, "%s %d, %s, of collection %d, has a number below 0", t.what, rowID, name, in)
			continue
		}
		id := uint64(rowID)
		collection := uint64(in)
		key := []byte{t.kind}
		if t.kind == 's' {
			key = codec.AppendID(key, collection)
		}
		has, ok, err := c.core.Snapshot().ID(append(key, name...))
		if err != nil {
			return err
		}
		switch {
		case t.kind == 'd' && !link.ValidDID(name) || t.kind == 'c' && !link.ValidNSID(name):
			c.found(KindName, mendDB, "%s %d has the invalid name %q", t.what, id, name)
		case !ok:
			c.found(KindName, mendIndex, "%s %d, %s, is not in the order by name", t.what, id, name)
		case has != id:
			if err := c.twoIDs(ctx, t, id, has, collection, name); err != nil {
				return err
			}
		}
		if err := c.step(ctx, "names", 0); err != nil {
			return err
		}
	}
	return rows.Err()
}

// twoIDs reports a name whose row and whose entry in the order by name have different ids.
func (c *checker) twoIDs(ctx context.Context, t nameTable, id, other, collection uint64, name string) error {
	var n int
	if err := c.s.Reader().GetContext(ctx, &n,
		"SELECT count(*) FROM "+t.from+" WHERE id = ? AND collection = ? AND name = ?",
		int64(other), int64(collection), name); err != nil {
		return err
	}
	if n > 0 {
		c.found(KindName, mendDB, "%s %s has two rows, %d and %d", t.what, name, min(id, other), max(id, other))
		return nil
	}
	c.found(KindName, mendIndex, "%s %s has the id %d in its row, but %d in the order by name", t.what, name, id, other)
	return nil
}

// nameEntries looks up all entries of the order by name in the tables.
func (c *checker) nameEntries(ctx context.Context) error {
	sc := c.core.Snapshot().Names.Scan(nil, nil, false)
	for sc.Next() {
		id, rest, err := codec.DecodeID(sc.Value())
		if err != nil || len(rest) > 0 {
			c.found(KindName, mendIndex, "the order by name has the entry %x at %q", sc.Value(), sc.Key())
			continue
		}
		for _, t := range nameTables {
			if t.kind != sc.Key()[0] {
				continue
			}
			var collection uint64
			var name string
			err := c.s.Reader().QueryRowContext(ctx, "SELECT collection, name FROM "+t.from+" WHERE id = ?",
				int64(id)).Scan(logrow.Unsigned(&collection), &name)
			if err != nil && !errors.Is(err, sql.ErrNoRows) && !errors.Is(err, codec.ErrMalformed) {
				return err
			}
			want := []byte{t.kind}
			if t.kind == 's' {
				want = codec.AppendID(want, collection)
			}
			if err != nil || string(append(want, name...)) != string(sc.Key()) {
				c.found(KindName, mendIndex, "the order by name has %s %d as %q, but its row differs", t.what, id,
					sc.Key()[1:])
			}
		}
		if err := c.step(ctx, "the order by name", 0); err != nil {
			return err
		}
	}
	return sc.Err()
}

// loadIDs reads the newest ids and all sources, which are few.
func (c *checker) loadIDs(ctx context.Context) error {
	if err := c.s.Reader().QueryRowContext(ctx,
		"SELECT (SELECT ifnull(max(id), 0) FROM actors), (SELECT ifnull(max(id), 0) FROM collections)").Scan(
		&c.actors, &c.collections); err != nil {
		return err
	}
	c.sources = map[uint64]uint64{}
	rows, err := c.s.Reader().QueryContext(ctx, "SELECT id, collection FROM sources")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id, collection uint64
		err := rows.Scan(logrow.Unsigned(&id), logrow.Unsigned(&collection))
		if errors.Is(err, codec.ErrMalformed) {
			continue // nameRows reports it
		}
		if err != nil {
			return err
		}
		c.sources[id] = collection
	}
	return rows.Err()
}

// collectionOf returns the collection of a source; ok is false if the source doesn't exist.
func (c *checker) collectionOf(source uint64) (collection uint64, ok bool) {
	collection, ok = c.sources[source]
	return collection, ok && collection != 0
}
