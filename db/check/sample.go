package check

import (
	"bytes"
	"context"
	"fmt"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/lsm"
)

const (
	// sampleSkip is the number of records that the sample may skip in an account, so that it doesn't always read the
	// first.
	sampleSkip = 16
	// sampleLinks is the number of links of a list that are looked up in their records.
	sampleLinks = 100
	// sampleList is the length up to which a list is counted whole. Longer lists are counted until sampleWalk links are
	// used up.
	sampleList = 10_000
	sampleWalk = 10_000_000
)

// sample checks records of random accounts, and lists: for each record one of its lists or the next list, which may be
// a list that no record has.
func (c *checker) sample(ctx context.Context) error {
	c.begin("records and lists")
	records := int64(0)
	links := int64(0)
	lists := int64(0)
	walk := int64(sampleWalk)
	for range c.o.Sample {
		if err := c.step(ctx, "records and lists", int64(c.o.Sample)); err != nil {
			return err
		}
		sc := c.recordAt(codec.AppendID(nil, c.rand.Uint64N(max(c.actors, 1))+1), c.rand.IntN(sampleSkip))
		if sc == nil {
			continue // after the last record
		}
		n, err := c.record(ctx, sc.Key(), sc.Value(), false)
		if err != nil {
			return err
		}
		records++
		links += int64(n)
		prefix, err := c.listOf(sc.Key(), sc.Value())
		if err != nil {
			return err
		}
		if prefix == nil {
			continue
		}
		lists++
		if err := c.list(ctx, prefix, &walk); err != nil {
			return err
		}
	}
	c.checked("records", records, fmt.Sprintf("at random; their %d links looked up in lists", links))
	c.checked("lists", lists, fmt.Sprintf("at random; %d links of each looked up in records; counts", sampleLinks))
	c.report.Left = append(c.report.Left, "the number of records that link, which only --all counts")
	return nil
}

// listOf chooses the list of one of a record's links, or the next list.
func (c *checker) listOf(key, value []byte) ([]byte, error) {
	_, _, rkey, err := codec.DecodeRecordKey(key)
	if err != nil {
		return nil, nil
	}
	value, err = c.core.Snapshot().InRecord(key, value)
	if err != nil {
		return nil, nil
	}
	found, err := codec.DecodeLinks(nil, value, rkey)
	if err != nil || len(found) == 0 {
		return nil, nil
	}
	l := found[c.rand.IntN(len(found))]
	prefix := codec.AppendID(bytes.Clone(l.Target), l.Source)
	if c.rand.IntN(2) == 0 {
		return prefix, nil
	}
	return c.nextList(lsm.PrefixEnd(prefix))
}

// list checks a list: some consecutive links against their records, and the sums unless the list is too long to count.
func (c *checker) list(ctx context.Context, prefix []byte, walk *int64) error {
	v := c.core.Snapshot()
	l := v.ListOf(prefix)
	total, err := l.Total()
	if err != nil {
		return err
	}
	at := listWalk{prefix: prefix}
	first := int64(0) // index of the first link that is looked up
	if total > sampleLinks {
		first = c.rand.Int64N(min(total, sampleList) - sampleLinks + 1)
	}
	whole := total <= max(sampleList, *walk)
	sc := l.Scan(ctx)
	for n := int64(0); sc.Next(); n++ {
		if err := index.CheckContext(ctx, int(n)); err != nil {
			return err
		}
		switch {
		case n >= first && n < first+sampleLinks:
			if err := c.listed(&at, sc.Key()); err != nil {
				return err
			}
		case !whole:
			if n >= first+sampleLinks {
				return nil
			}
		default:
			if p, err := l.Position(sc); err == nil {
				at.add(p.AccountID)
			}
		}
		if n > sampleList {
			*walk--
		}
	}
	if err := sc.Err(); err != nil {
		return err
	}
	return c.endList(ctx, &at)
}
