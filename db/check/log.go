package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
)

// sampleLog is the number of newest log rows that a sample reads.
const sampleLog = 1_000_000

// logRules are rules of the rows of the log alone.
var logRules = []sqlRule{
	{KindLog, mendDB, `SELECT printf('log rows %d to %d are %d', min(seq), max(seq), count(*)) FROM records WHERE seq >= ?1
		HAVING count(*) > 0 AND count(*) <> max(seq) - min(seq) + 1`},
	{KindLog, mendDB, `SELECT printf('log row %d, of op %d, lacks a part, or has one that is none', seq, op) FROM records
		WHERE seq >= ?1 AND (op NOT BETWEEN 1 AND 11
		OR op IN (1, 2, 3, 6, 10) AND (collection IS NULL OR rkey IS NULL)
		OR op IN (4, 5, 7, 9, 11) AND rkey IS NOT NULL
		OR op = 4 AND status IS NULL
		OR status IS NOT NULL AND op <> 4 AND NOT (op IN (1, 2, 3) AND status = 1)
		OR typeof(rkey) NOT IN ('integer', 'text', 'null'))`},
	{KindLog, mendDB,
		`SELECT printf('log row %d is of account %d and collection %d, and one of them has no row', seq, actor, collection)
		FROM records WHERE seq >= ?1
		AND (actor NOT IN (SELECT id FROM actors) OR collection NOT IN (SELECT id FROM collections))`},
	{KindLog, mendDB, `SELECT printf('log row %d, of op %d, has half a link', seq, op) FROM records
		WHERE seq >= ?1 AND (source IS NULL) <> (target IS NULL)`},
	{KindLog, mendDB, `SELECT printf('link row %d belongs to no log row', id) FROM more_links
		WHERE id >= ?1 << 12 AND (id >> 12) NOT IN (SELECT seq FROM records)`},
	{KindLog, mendDB,
		`SELECT printf('link row %d, of op %d and source %d, does not fit log row %d', links.id, links.op, links.source, seq)
		FROM (SELECT id, op, source, rank FROM more_links WHERE id >= ?1 << 12
			UNION ALL SELECT seq << 12, op <> 3, source, NULL FROM records WHERE seq >= ?1 AND source IS NOT NULL) AS links
		JOIN records ON seq = links.id >> 12 LEFT JOIN sources ON sources.id = links.source
		WHERE links.op NOT IN (0, 1) OR sources.collection IS NOT records.collection
		OR records.op = 3 AND links.op = 1 OR rank < 0 OR rank IS NULL AND typeof(rkey) <> 'integer'`},
	{KindLog, mendDB, `SELECT printf('log row %d changed nothing: it has no link rows', seq) FROM records
		WHERE seq >= ?1 AND op IN (1, 2, 3, 10) AND source IS NULL
		AND NOT EXISTS (SELECT 1 FROM more_links WHERE id BETWEEN seq << 12 AND (seq << 12) + 4095)
		AND NOT (op = 2 AND EXISTS (SELECT 1 FROM replaced WHERE replaced.seq = records.seq))`},
	{KindLog, mendDB, `SELECT printf('log row %d, of op %d, has link rows', seq, op) FROM records
		WHERE seq >= ?1 AND op NOT IN (1, 2, 3, 10)
		AND (source IS NOT NULL OR EXISTS (SELECT 1 FROM more_links WHERE id BETWEEN seq << 12 AND (seq << 12) + 4095))`},
	{KindLog, mendDB,
		`SELECT printf('log row %d lacks link rows: beside its own link it has %d, of the numbers %d to %d',
			id >> 12, count(*), min(id & 4095), max(id & 4095))
		FROM (SELECT id FROM more_links WHERE id >= ?1 << 12) LEFT JOIN records ON seq = id >> 12
		GROUP BY id >> 12
		HAVING max(id & 4095) <> count(*) + (source IS NOT NULL) - 1 OR min(id & 4095) <> (source IS NOT NULL)`},
	{KindLog, mendDB,
		`SELECT printf('log row %d gives account %d the status %d, and it has %d', seq, id, changed & 15, actors.status)
		FROM (SELECT actor, max(seq) AS seq, status AS changed FROM records WHERE seq >= ?1 AND op = 4 GROUP BY actor)
		JOIN actors ON id = actor WHERE changed & 15 <> actors.status`},
	{KindLog, mendDB,
		`SELECT printf('the resync of account %d is open since log row %d, which does not begin it', actor, since_seq)
		FROM resyncs WHERE since_seq >= ?1 AND NOT EXISTS (
		SELECT 1 FROM records WHERE seq = since_seq AND op = 5 AND records.actor = resyncs.actor
		AND ifnull(records.rev, 0) = resyncs.rev)`},
}

// log checks the log by itself, then replays the rows outside segments, as a start does.
func (c *checker) log(ctx context.Context) error {
	c.begin("the log")
	v := c.core.Snapshot()
	if v == nil {
		return fmt.Errorf("the log cannot be compared with unreadable segments")
	}
	oldest, newest, err := logrow.Range(ctx, c.s.Reader())
	if err != nil {
		return err
	}
	if oldest > v.Sealed+1 {
		c.found(KindLog, mendDB, "log rows %d to %d are lost: no segment has them", v.Sealed+1, oldest-1)
	}
	if newest != 0 && newest < v.Sealed {
		c.found(KindLog, mendDB, "the log ends at row %d, but the segments end at %d", newest, v.Sealed)
	}
	from := max(oldest, 1)
	if !c.o.All && newest > sampleLog {
		from = max(from, newest-sampleLog+1)
	}
	if err := c.rules(ctx, logRules, from); err != nil {
		return err
	}
	if newest > 0 {
		c.checked("log rows", int64(newest-from+1), fmt.Sprintf("%d to %d: parts, links, accounts", from, newest))
	}
	base := *c.core.Snapshot()
	if err := c.s.LoadNames(ctx, &base); err != nil {
		return fmt.Errorf("read names: %w", err)
	}
	base.Sums = logrow.Checksums{} // the sums of these rows are already compared
	c.core.SetSnapshot(&base)
	if !c.whole {
		c.report.Left = append(c.report.Left, "the index: restore the segments first")
		return nil
	}
	c.begin("the log rows outside segments")
	next, err := c.s.Replay(ctx, &base)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.found(KindLog, mendDB, "the log cannot be replayed, and weft serve will not start: %v", err)
		c.report.Left = append(c.report.Left, "the index without the log rows outside segments")
		c.whole = false
		return nil
	}
	c.core.SetSnapshot(next)
	return c.effects(ctx, from, newest)
}

// effects compares the newest log row of each link with the order by record. SQLite sorts, if necessary in temporary
// files, so that memory doesn't depend on the length of the log. A sample reads all rows of some accounts.
func (c *checker) effects(ctx context.Context, from, newest uint64) error {
	if newest == 0 {
		return nil
	}
	c.begin("the log rows of each link")
	purged, err := c.purges(ctx, from)
	if err != nil {
		return err
	}
	parts := uint64(1) // one part is checked
	if rows := newest - from + 1; !c.o.All && rows > uint64(c.o.Sample) {
		parts = rows / uint64(c.o.Sample)
	}
	// An odd constant (2^32 / golden ratio) spreads the accounts, because their ids are consecutive.
	rows, err := c.s.Reader().QueryContext(ctx,
		`SELECT seq, op, actor, collection, rkey, op <> 3 AS link_op, source, target, -1 FROM records
		WHERE seq >= ?1 AND source IS NOT NULL AND op IN (1, 2, 3, 10) AND (actor * 2654435769 & 0x7fffffff) % ?2 = ?3
		UNION ALL
		SELECT seq, records.op, actor, collection, rkey, m.op, m.source, m.target, ifnull(m.rank, -1)
		FROM records CROSS JOIN more_links AS m ON m.id BETWEEN seq << 12 AND (seq << 12) + 4095
		WHERE seq >= ?1 AND records.op IN (1, 2, 3, 10) AND (actor * 2654435769 & 0x7fffffff) % ?2 = ?3
		ORDER BY actor, collection, rkey, source, target, seq DESC, link_op DESC`,
		int64(from), int64(parts), int64(c.rand.Uint64N(parts)))
	if err != nil {
		return err
	}
	defer rows.Close()
	var at effect
	records := int64(0)
	for rows.Next() {
		var r logrow.Row
		var l logrow.LinkRow
		var rkey any
		err := rows.Scan(logrow.Unsigned(&r.Seq), logrow.Unsigned(&r.Op), logrow.Unsigned(&r.Actor),
			logrow.Unsigned(&r.Collection), &rkey, logrow.Unsigned(&l.Op), logrow.Unsigned(&l.Source), &l.Target, &l.Rank)
		if errors.Is(err, codec.ErrMalformed) {
			continue // a rule has reported it
		}
		if err != nil {
			return err
		}
		r.Rkey, err = codec.DecodeRkeyColumn(rkey)
		if err != nil || r.Rkey == nil || r.Collection == 0 {
			continue // a rule has reported it
		}
		if key := codec.RecordKey(nil, r.Actor, r.Collection, r.Rkey); !bytes.Equal(key, at.key) {
			c.endEffect(&at)
			records++
			at, err = c.newEffect(key, &r, purged)
			if err != nil {
				return err
			}
		}
		c.effect(&at, &r, &l)
		if err := c.step(ctx, "the log rows of each link", 0); err != nil {
			return err
		}
	}
	c.endEffect(&at)
	c.checked("records in the log", records, "their newest log rows against the index")
	return rows.Err()
}

// purge holds the last two log rows that deleted an account; 0: none.
type purge struct{ last, before uint64 }

// purges finds the accounts that the log deletes.
func (c *checker) purges(ctx context.Context, from uint64) (map[uint64]purge, error) {
	var rows []struct{ Actor, Seq int64 } // an account below 0 is one that a rule reports
	if err := c.s.Reader().SelectContext(ctx, &rows,
		"SELECT actor, seq FROM records WHERE seq >= ? AND op = ? AND status & 15 = ? ORDER BY seq",
		int64(from), int64(logrow.OpAccount), int64(logrow.StatusDeleted)); err != nil {
		return nil, err
	}
	purged := map[uint64]purge{}
	for _, r := range rows {
		purged[uint64(r.Actor)] = purge{uint64(r.Seq), purged[uint64(r.Actor)].last}
	}
	return purged, nil
}

// effect is a record during the walk of its log rows.
type effect struct {
	key    []byte
	links  []codec.RecordLink // in the order by record
	purged uint64             // rows before this one have no effect
	newest uint64             // row
	op     logrow.Op          // of it
	source uint64             // of the previous link row
	target []byte
}

func (c *checker) newEffect(key []byte, r *logrow.Row, purged map[uint64]purge) (effect, error) {
	at := effect{key: key, purged: purged[r.Actor].last}
	if c.s.Status(r.Actor) == logrow.StatusDeleted && !c.s.Purged(r.Actor, key) {
		at.purged = purged[r.Actor].before // the job that purges the account has not reached the record
	}
	value, err := c.core.Snapshot().FindRecord(key, true)
	if err != nil {
		return at, err
	}
	at.links, err = codec.DecodeLinks(nil, value, r.Rkey)
	if err != nil {
		at.links = nil
		at.purged = math.MaxUint64 // the check of the order by record reports it
	}
	return at, nil
}

// effect checks a link row. The first row of each link is the newest and decides whether the record has the link.
func (c *checker) effect(at *effect, r *logrow.Row, l *logrow.LinkRow) {
	if r.Seq > at.newest {
		at.newest = r.Seq
		at.op = r.Op
	}
	if at.target != nil && at.source == l.Source && bytes.Equal(at.target, l.Target) {
		return
	}
	at.source = l.Source
	at.target = append(at.target[:0:0], l.Target...)
	if l.RecordLink(r.Rkey).Rank < c.core.Snapshot().Horizons.Of(l.Source) {
		return // it is out, and the index may have it or not
	}
	link := codec.RecordLink{Source: l.Source, Target: at.target}
	i, has := slices.BinarySearchFunc(at.links, link, codec.CompareLinks) // a record may have 250,000 links
	switch {
	case r.Seq <= at.purged:
		if has && at.purged != math.MaxUint64 {
			c.found(KindLog, mendIndex, "%s links to %s, and log row %d deleted the account", c.nameRecord(at.key),
				c.nameTarget(link), at.purged)
		}
	case l.Op == codec.Linked && !has:
		c.found(KindLog, mendIndex, "log row %d links %s to %s, but the index lacks this link", r.Seq,
			c.nameRecord(at.key),
			c.nameTarget(link))
	case l.Op == codec.Unlinked && has:
		c.found(KindLog, mendIndex, "log row %d removes the link of %s to %s, but the index has it", r.Seq,
			c.nameRecord(at.key), c.nameTarget(link))
	case has && (at.links[i].Derived != (l.Rank < 0) || l.Rank >= 0 && uint64(l.Rank) != at.links[i].Rank):
		c.found(KindLog, mendIndex, "log row %d has the link of %s to %s at rank %d, but the index at %d", r.Seq,
			c.nameRecord(at.key), c.nameTarget(link), l.Rank, at.links[i].Rank)
	}
}

// endEffect checks the newest row of a record against all its links.
func (c *checker) endEffect(at *effect) {
	if at.op == logrow.OpDelete && at.newest > at.purged && len(at.links) > 0 {
		c.found(KindLog, mendIndex, "log row %d deletes %s, but the index has it", at.newest, c.nameRecord(at.key))
	}
}
