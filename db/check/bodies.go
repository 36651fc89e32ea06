package check

import (
	"context"
	"fmt"
	"math"
	"slices"

	"weft.dev/weft/db"
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
)

// bodyRules are rules of the tables of bodies. ?1 is the newest log row.
var bodyRules = []sqlRule{
	{KindBody, mendBody,
		`SELECT printf('log row %d has a body, and the log ends at row %d', seq, ?1) FROM bodies WHERE seq > ?1`},
	{KindBody, mendBody,
		`SELECT printf('log row %d, of op %d, has a body', seq, op) FROM bodies JOIN records USING (seq)
		WHERE op NOT IN (1, 2)`},
	{KindBody, mendBody,
		`SELECT printf('log row %d puts the body of log row %d out of date', r.seq, r.body) FROM replaced AS r
		LEFT JOIN records USING (seq) WHERE r.body >= r.seq OR op IS NULL OR op NOT IN (1, 2, 3, 10)`},
	{KindBody, mendBody,
		`SELECT printf('the body of log row %d is put out of date by %d log rows', body, count(*)) FROM replaced
		WHERE body <> 0 GROUP BY body HAVING count(*) > 1`},
}

// blockRules are rules between the rows of bodies and their blocks. They read all blocks.
var blockRules = []sqlRule{
	{KindBody, mendBody,
		`SELECT printf('the body of log row %d is in block %d, which is not there', seq, block) FROM bodies
		WHERE block NOT IN (SELECT id FROM blocks)`},
	{KindBody, mendBody, `SELECT printf('block %d is used by %d bodies, and counts %d', id, ifnull(n, 0), refs) FROM blocks
		LEFT JOIN (SELECT block, count(*) AS n FROM bodies GROUP BY block) ON block = id
		WHERE refs <> ifnull(n, 0) OR refs = 0`},
}

// bodies checks the tables of bodies. It decodes all blocks or a sample. The index check compares bodies with records.
func (c *checker) bodies(ctx context.Context) error {
	was, since, err := c.s.StoredBodies(ctx)
	if err != nil {
		c.found(KindBody, mendDB, "how bodies were kept: %v", err)
		return nil
	}
	c.begin("bodies")
	var n, newest, oldest int64
	err = c.s.Reader().QueryRowContext(ctx,
		`SELECT (SELECT count(*) FROM bodies), max((SELECT ifnull(max(seq), 0) FROM records),
		(SELECT ifnull(max(to_seq), 0) FROM segments)), (SELECT ifnull(min(seq), 0) FROM records)`).
		Scan(&n, &newest, &oldest)
	if err != nil {
		return err
	}
	// The body of a record exists if its log row is after this one.
	c.bodiesFrom = since
	switch was {
	case db.BodiesOff:
		c.bodiesFrom = math.MaxUint64
	case db.BodiesWindow:
		c.bodiesFrom = max(since, uint64(max(oldest, 1))-1)
		if oldest == 0 {
			c.bodiesFrom = uint64(newest)
		}
	}
	c.bodiesOn = was != db.BodiesOff
	if n == 0 && was == db.BodiesOff {
		return nil
	}
	if err := c.rules(ctx, bodyRules, uint64(newest)); err != nil {
		return err
	}
	if !c.o.All && n > sampleLog {
		c.report.Left = append(c.report.Left, "the references of blocks, which only --all counts")
	} else if err := c.rules(ctx, blockRules, 0); err != nil {
		return err
	}
	if err := c.blocks(ctx); err != nil {
		return err
	}
	c.checked("bodies", n, fmt.Sprintf("of log rows; bodies are %s; %d blocks decoded and compared with their digests",
		was, c.steps))
	return nil
}

// blocks decodes blocks and compares them with their digests.
func (c *checker) blocks(ctx context.Context) error {
	var first, last int64
	if err := c.s.Reader().QueryRowContext(ctx, "SELECT ifnull(min(id), 0), ifnull(max(id), 0) FROM blocks").Scan(&first,
		&last); err != nil || last == 0 {
		return err
	}
	if c.o.All || last-first < int64(c.o.Sample) {
		return c.blockRows(ctx, "", nil)
	}
	for range c.o.Sample {
		// The first block from this id on.
		if err := c.blockRows(ctx, " WHERE id >= ? ORDER BY id LIMIT 1",
			[]any{first + c.rand.Int64N(last-first+1)}); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) blockRows(ctx context.Context, where string, args []any) error {
	rows, err := c.s.Reader().QueryContext(ctx, "SELECT id, digest, body FROM blocks"+where, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id int64
		var digest, frame []byte
		if err := rows.Scan(&id, &digest, &frame); err != nil {
			return err
		}
		if _, err := index.OpenBody(digest, frame); err != nil {
			c.found(KindBody, mendBody, "block %d: %v", id, err)
		}
		if err := c.step(ctx, "bodies", 0); err != nil {
			return err
		}
	}
	return rows.Err()
}

// recordBody checks the log row that a record names for its body. It counts the bodies found, so that allBodies can
// detect orphans.
func (c *checker) recordBody(ctx context.Context, key, value []byte) error {
	seq := codec.BodyRef(value)
	if seq == 0 || !c.bodiesOn {
		return nil
	}
	v := c.core.Snapshot()
	if seq > v.Seq {
		c.found(KindBody, mendIndex, "%s has the body of log row %d, and the newest is %d", c.nameRecord(key), seq,
			v.Seq)
		return nil
	}
	var there bool
	var actor, collection int64
	var rkey any
	err := c.s.Reader().QueryRowContext(ctx,
		`SELECT EXISTS (SELECT 1 FROM bodies WHERE seq = ?1), ifnull(actor, 0), ifnull(collection, 0), rkey
		FROM (SELECT 1) LEFT JOIN records ON seq = ?1`, int64(seq)).Scan(&there, &actor, &collection, &rkey)
	if err != nil {
		return err
	}
	if seq > c.bodiesFrom && there {
		c.current++
	} else if seq > c.bodiesFrom {
		c.found(KindBody, mendIndex, "%s has the body of log row %d, which does not exist", c.nameRecord(key), seq)
	}
	if actor == 0 {
		return nil // the log row is pruned
	}
	raw, err := codec.DecodeRkeyColumn(rkey)
	if err != nil || raw == nil || !slices.Equal(codec.RecordKey(nil, uint64(actor), uint64(collection), raw), key) {
		c.found(KindBody, mendIndex, "%s has the body of log row %d, which belongs to another record",
			c.nameRecord(key), seq)
	}
	return nil
}

// allBodies compares the number of bodies with the number of references: from records, and from log rows that replaced
// a body. It runs after a walk of all records.
func (c *checker) allBodies(ctx context.Context) error {
	if !c.bodiesOn {
		return nil
	}
	var bodies, replaced int64
	err := c.s.Reader().QueryRowContext(ctx, `SELECT (SELECT count(*) FROM bodies WHERE seq > ?1),
		(SELECT count(*) FROM bodies WHERE seq > ?1 AND seq IN (SELECT body FROM replaced))`,
		int64(c.bodiesFrom)).Scan(&bodies, &replaced)
	if err != nil {
		return err
	}
	if c.core.Snapshot().Horizons.Newest() > 0 {
		c.report.Left = append(c.report.Left, "the number of bodies, because some belong to records that are out")
		return nil
	}
	if bodies != c.current+replaced {
		c.found(KindBody, mendBody, "%d bodies: %d current, %d of older versions, %d orphaned",
			bodies, c.current, replaced, bodies-c.current-replaced)
	}
	return nil
}
