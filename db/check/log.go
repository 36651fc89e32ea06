package check

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/lsm"
)

// sampleLog is the number of newest log rows that a sample reads.
const sampleLog = 1_000_000

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
	read, err := c.checkRows(ctx, from, newest)
	if err != nil {
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
	if read.damaged {
		return nil // checkRows has said so
	}
	return c.effects(ctx, from, newest, read.purged)
}

// effects compares the newest log row of each link with the order by record. A sample reads all rows of some accounts.
func (c *checker) effects(ctx context.Context, from, newest uint64, purged map[uint64]purge) error {
	if newest == 0 {
		return nil
	}
	c.begin("the log rows of each link")
	parts := uint64(1) // one part is checked
	if rows := newest - from + 1; !c.o.All && rows > uint64(c.o.Sample) {
		parts = rows / uint64(c.o.Sample)
	}
	part := c.rand.Uint64N(parts)
	sorter, err := newLinkSorter()
	if err != nil {
		return err
	}
	defer sorter.close()
	err = logrow.Scan(ctx, c.s.Reader(), from-1, newest, func(rows logrow.Rows) error {
		for i := range rows.Links {
			l := &rows.Links[i]
			r := &rows.Log[l.ID>>logrow.LinkShift-rows.Log[0].Seq]
			// An odd constant (2^32 / golden ratio) spreads the accounts, because their ids are consecutive.
			isInPart := (r.Actor*2654435769&0x7fffffff)%parts == part
			if !isInPart || !changesLinks(r.Op) || r.Rkey == nil || r.Collection == 0 {
				continue // a rule has reported a row that lacks a part
			}
			if err := sorter.add(r, l); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	var at effect
	records := int64(0)
	err = sorter.each(ctx, func(r *logrow.Row, l *logrow.LinkRow) error {
		if key := codec.RecordKey(nil, r.Actor, r.Collection, r.Rkey); !bytes.Equal(key, at.key) {
			c.endEffect(&at)
			records++
			at, err = c.newEffect(key, r, purged)
			if err != nil {
				return err
			}
		}
		c.effect(&at, r, l)
		return c.step(ctx, "the log rows of each link", 0)
	})
	if err != nil {
		return err
	}
	c.endEffect(&at)
	c.checked("records in the log", records, "their newest log rows against the index")
	return nil
}

// purge holds the last two log rows that deleted an account; 0: none.
type purge struct{ last, before uint64 }

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
	value, err := c.core.Snapshot().FindRecord(key, lsm.Likely)
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
