package check

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"weft.dev/weft/db"
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
)

// bodyRules are rules of the tables of bodies. ?1 is the newest log row.
var bodyRules = []sqlRule{
	{KindBody, mendBody,
		`SELECT printf('log row %d has a body, and the log ends at row %d', seq, ?1) FROM bodies WHERE seq > ?1`},
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
	var n, newest, first, oldest int64
	err = c.s.Reader().QueryRowContext(ctx,
		`SELECT (SELECT count(*) FROM bodies), max(ifnull((SELECT max(last) FROM log), 0),
		ifnull((SELECT max(to_seq) FROM segments), 0)), ifnull((SELECT min(seq) FROM bodies), 0),
		ifnull((SELECT min(last) FROM log), 0)`).
		Scan(&n, &newest, &first, &oldest)
	if err != nil {
		return err
	}
	// The body of a record exists if its log row is after this one.
	c.bodiesFrom = since
	switch was {
	case db.BodiesOff:
		c.bodiesFrom = math.MaxUint64
	case db.BodiesWindow:
		// Bodies of old log rows are deleted also where their block stays, which is the oldest one.
		c.bodiesFrom = max(since, uint64(oldest))
		if first > 0 && first <= oldest {
			c.bodiesFrom = max(since, uint64(first)-1)
		}
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
	from := uint64(1)
	if !c.o.All && newest > sampleLog {
		from = uint64(newest) - sampleLog + 1
	}
	if err := c.bodyRows(ctx, from, uint64(newest)); err != nil {
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
	if err := c.s.Reader().GetContext(ctx, &there, "SELECT EXISTS (SELECT 1 FROM bodies WHERE seq = ?)",
		int64(seq)); err != nil {
		return err
	}
	if seq > c.bodiesFrom && there {
		c.current++
	} else if seq > c.bodiesFrom {
		c.found(KindBody, mendIndex, "%s has the body of log row %d, which does not exist", c.nameRecord(key), seq)
	}
	c.refs = append(c.refs, bodyRef{seq, bytes.Clone(key)})
	if len(c.refs) < maxRefs {
		return nil
	}
	return c.checkRefs(ctx)
}

// bodyRef is the log row of a record's body.
type bodyRef struct {
	seq uint64
	key []byte // of the record
}

// maxRefs is the number of log rows that are looked up together: some 40 MB. Each look-up unpacks a block of the log,
// and records are not in its order.
const maxRefs = 1 << 19

// checkRefs compares the log rows of bodies with their records.
func (c *checker) checkRefs(ctx context.Context) error {
	refs := c.refs
	c.refs = nil
	slices.SortFunc(refs, func(a, b bodyRef) int { return cmp.Compare(a.seq, b.seq) })
	oldest, _, err := logrow.Range(ctx, c.s.Reader())
	if err != nil {
		return err
	}
	var rows logrow.Rows // of a block
	for _, ref := range refs {
		if ref.seq < oldest {
			continue // the log row is pruned
		}
		if len(rows.Log) == 0 || rows.Log[len(rows.Log)-1].Seq < ref.seq {
			rows, err = logrow.BlockAt(ctx, c.s.Reader(), ref.seq)
			if err != nil && !errors.Is(err, logrow.ErrDamaged) { // the check of the log has reported a damaged block
				return err
			}
		}
		for _, r := range rows.Between(ref.seq-1, ref.seq).Log {
			if r.Rkey == nil || !slices.Equal(codec.RecordKey(nil, r.Actor, r.Collection, r.Rkey), ref.key) {
				c.found(KindBody, mendIndex, "%s has the body of log row %d, which belongs to another record",
					c.nameRecord(ref.key), ref.seq)
			}
		}
	}
	return ctx.Err()
}

// allBodies compares the number of bodies with the number of references: from records, and from log rows that replaced
// a body. It runs after a walk of all records.
func (c *checker) allBodies(ctx context.Context) error {
	if !c.bodiesOn {
		return nil
	}
	if err := c.checkRefs(ctx); err != nil {
		return err
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
