package check

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"unsafe"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/distinct"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/lsm"
)

// index compares the order by target with the order by record. It looks up each entry of one in the other, because they
// sort differently. Memory doesn't depend on the size of the index.
func (c *checker) index(ctx context.Context) error {
	if !c.whole {
		return nil // log has reported it
	}
	if v := c.core.Snapshot(); !c.o.All && v.Linking > int64(c.o.Sample) {
		if err := c.sample(ctx); err != nil {
			return err
		}
		return c.checkRefs(ctx)
	}
	if err := c.allRecords(ctx); err != nil {
		return err
	}
	if err := c.allBodies(ctx); err != nil {
		return err
	}
	return c.allTargets(ctx)
}

// allRecords checks the order by record and counts the records with links.
func (c *checker) allRecords(ctx context.Context) error {
	c.begin("records")
	v := c.core.Snapshot()
	records := int64(0)
	links := int64(0)
	for sc := v.Records.Scan(nil, nil, false); ; {
		if !sc.Next() {
			if err := sc.Err(); err != nil {
				return err
			}
			break
		}
		n, err := c.record(ctx, sc.Key(), sc.Value(), true)
		if err != nil {
			return err
		}
		if n > 0 {
			records++
			links += int64(n)
		}
		if err := c.step(ctx, "records", v.Linking); err != nil {
			return err
		}
	}
	if v.Horizons.Newest() > 0 {
		c.report.Left = append(c.report.Left, "the numbers of all records and of all links, which count some that are out")
	} else if records != v.Linking {
		c.found(KindCount, mendIndex, "the index counts %d records with links, but has %d", v.Linking, records)
	}
	c.checked("records", records, fmt.Sprintf("all; their %d links looked up in lists", links))
	return nil
}

// record checks an entry of the order by record, looks its links up in the order by target, and returns the number of
// links. both means that a walk of the order by target finds superfluous links.
func (c *checker) record(ctx context.Context, key, value []byte, both bool) (int, error) {
	if actor, rest, err := codec.DecodeID(key); err == nil && len(rest) == 1 && rest[0] == 0 {
		if len(value) != 8 || actor == 0 || actor > c.actors {
			c.found(KindLink, mendIndex, "account %d has the revision %x", actor, value)
		}
		return 0, nil
	}
	actor, collection, rkey, err := codec.DecodeRecordKey(key)
	if err != nil || !bytes.Equal(codec.RecordKey(nil, actor, collection, rkey), key) {
		c.found(KindLink, mendIndex, "the order by record has the invalid key %x", key)
		return 0, nil
	}
	in, err := c.core.Snapshot().InRecord(key, value)
	var links []codec.RecordLink
	if err == nil {
		links, err = codec.DecodeLinks(nil, in, rkey)
	}
	if err != nil {
		c.found(KindLink, mendIndex, "%s has links that can't be read: %x", c.nameRecord(key), value)
		return 1, nil
	}
	if actor == 0 || actor > c.actors || collection > c.collections {
		c.found(KindName, mendIndex, "a record has account %d and collection %d, but one of them has no row", actor,
			collection)
	}
	shown := c.s.Shown(actor, key)
	if len(links) > 0 && c.s.Purged(actor, key) { // a purge leaves what is out
		c.found(KindLink, mendIndex, "%s has links, but its account is deleted", c.nameRecord(key))
	}
	for i, l := range links {
		if i > 0 && codec.CompareLinks(links[i-1], l) >= 0 {
			c.found(KindLink, mendIndex, "%s has its links out of order or duplicated", c.nameRecord(key))
		}
		if of, ok := c.collectionOf(l.Source); !ok || of != collection || l.Derived && !codec.IsTID(rkey) {
			c.found(KindName, mendIndex,
				"%s has a link of source %d, which belongs to another collection, or a wrong sort time",
				c.nameRecord(key), l.Source)
		}
		c.targetNames(key, l.Target)
		if err := c.recordLink(key, l, codec.ListPosition{Rank: l.Rank, AccountID: actor,
			RkeySuffix: codec.AppendRkeySuffix(nil, l.Rank, rkey)}, shown, both); err != nil {
			return 0, err
		}
	}
	return len(links), c.recordBody(ctx, key, in)
}

// recordLink looks up a link of a record in the order by target.
func (c *checker) recordLink(key []byte, l codec.RecordLink, p codec.ListPosition, shown, both bool) error {
	v := c.core.Snapshot()
	in := v.ListOf(codec.AppendID(bytes.Clone(l.Target), l.Source))
	value, ok, err := v.Targets.Find(p.Append(bytes.Clone(in.Prefix)), 0)
	if err != nil {
		return err
	}
	switch has := ok && value[0] == codec.Linked; {
	case has && !shown && !both:
		c.found(KindLink, mendIndex, "%s links to %s and is listed there, but its account is not active",
			c.nameRecord(key),
			c.nameTarget(l))
	case !has && shown:
		c.found(KindLink, mendIndex, "%s links to %s at rank %d, but is not listed there", c.nameRecord(key),
			c.nameTarget(l),
			l.Rank)
	}
	return nil
}

// targetNames checks that the ids in a target have names.
func (c *checker) targetNames(key, target []byte) {
	t, err := codec.DecodeTarget(target)
	if err != nil {
		c.found(KindLink, mendIndex, "%s links to %x, which is not a target", c.nameRecord(key), target)
		return
	}
	if t.Text == nil && (t.AccountID == 0 || t.AccountID > c.actors || t.CollectionID > c.collections) {
		c.found(KindName, mendIndex, "%s links to account %d, collection %d, but one of them has no row",
			c.nameRecord(key),
			t.AccountID, t.CollectionID)
	}
}

// allTargets checks the order by target and counts its links.
func (c *checker) allTargets(ctx context.Context) error {
	c.begin("links by target")
	v := c.core.Snapshot()
	total := v.Targets.Total()
	lists := int64(0)
	var at listWalk
	for sc := v.Targets.Scan(nil, nil, false); ; {
		more := sc.Next()
		if !more && sc.Err() != nil {
			return sc.Err()
		}
		if at.prefix != nil && (!more || !bytes.HasPrefix(sc.Key(), at.prefix)) {
			lists++
			if err := c.endList(ctx, &at); err != nil {
				return err
			}
		}
		if !more {
			break
		}
		if v.IsOut(sc.Key()) {
			continue
		}
		if err := c.listed(&at, sc.Key()); err != nil {
			return err
		}
		if err := c.step(ctx, "links by target", total); err != nil {
			return err
		}
	}
	if c.steps != total && v.Horizons.Newest() == 0 {
		c.found(KindCount, mendIndex, "the index counts %d links, but has %d", total, c.steps)
	}
	c.checked("links", c.steps, fmt.Sprintf("all, looked up in records; counts of %d lists", lists))
	return nil
}

// listWalk is the state of a walk through one list.
type listWalk struct {
	prefix  []byte
	n       int64
	members []uint32      // the first accounts
	set     *distinct.Set // all accounts of a long list
	large   bool          // an id is too large for a set
}

// add counts a link.
func (w *listWalk) add(actor uint64) {
	w.n++
	w.large = w.large || actor > 1<<32-1
	switch {
	case w.large:
		w.set = nil
		w.members = nil
	case w.set != nil:
		w.set.Add(uint32(actor), 1)
	default:
		w.members = append(w.members, uint32(actor))
		if len(w.members) > index.ShortList {
			w.set = &distinct.Set{}
			for _, m := range w.members {
				w.set.Add(m, 1)
			}
			w.members = w.members[:0]
		}
	}
}

const (
	largeRecord    = 16 << 10 // records with more bytes of links are cached decoded
	largeBytesMost = 64 << 20 // limit of the cache in bytes
)

// linksOf returns the links of a record, in order. ok is false if they can't be decoded; the walk of the order by
// record reports that.
func (c *checker) linksOf(record, rkey []byte) (links []codec.RecordLink, ok bool, err error) {
	if links, ok := c.large[string(record)]; ok {
		return links, true, nil
	}
	value, err := c.core.Snapshot().FindRecord(record, lsm.Likely)
	if err != nil {
		return nil, false, err
	}
	links, err = codec.DecodeLinks(nil, value, rkey)
	if err != nil {
		return nil, false, nil
	}
	if len(value) < largeRecord {
		return links, true, nil
	}
	size := len(value) + len(links)*int(unsafe.Sizeof(codec.RecordLink{}))
	if c.large == nil || c.largeBytes+size > largeBytesMost {
		c.large = map[string][]codec.RecordLink{}
		c.largeBytes = 0
	}
	c.large[string(record)] = links
	c.largeBytes += size
	return links, true, nil
}

// listed checks an entry of the order by target and looks it up in its record.
func (c *checker) listed(at *listWalk, key []byte) error {
	n := codec.TargetLen(key)
	source, rest, err := codec.DecodeID(key[n:])
	var p codec.ListPosition
	if n > 0 && err == nil {
		var tail []byte
		p, tail, err = codec.DecodePosition(rest)
		if err == nil && (len(tail) > 0 || !bytes.Equal(codec.AppendRkeySuffix(nil, p.Rank, p.Rkey()), p.RkeySuffix)) {
			err = codec.ErrMalformed
		}
	}
	if n == 0 || err != nil {
		c.found(KindLink, mendIndex, "the order by target has the invalid key %x", key)
		return nil
	}
	if at.prefix == nil {
		*at = listWalk{prefix: bytes.Clone(key[:len(key)-len(rest)]), members: at.members[:0]}
	}
	at.add(p.AccountID)
	collection, ok := c.collectionOf(source)
	if !ok || p.AccountID == 0 || p.AccountID > c.actors {
		c.found(KindName, mendIndex, "the list %x has a link of account %d and source %d, but one of them has no row",
			at.prefix, p.AccountID, source)
		return nil
	}
	rkey := p.Rkey()
	record := codec.RecordKey(nil, p.AccountID, collection, rkey)
	links, ok, err := c.linksOf(record, rkey)
	if err != nil || !ok {
		return err
	}
	has := codec.RecordLink{Source: source, Target: key[:n]}
	i, ok := slices.BinarySearchFunc(links, has, codec.CompareLinks)
	if !ok {
		c.found(KindLink, mendIndex, "%s is listed among the links to %s, but does not link there",
			c.nameRecord(record),
			c.nameTarget(has))
		return nil
	}
	if links[i].Rank != p.Rank {
		c.found(KindLink, mendIndex, "%s is listed among the links to %s at rank %d, but its own rank is %d",
			c.nameRecord(record), c.nameTarget(has), p.Rank, links[i].Rank)
	}
	if !c.s.Shown(p.AccountID, record) {
		c.found(KindLink, mendIndex, "%s is listed among the links to %s, but its account is not active",
			c.nameRecord(record), c.nameTarget(has))
	}
	return nil
}

// endList compares the counts of a list with its sums.
func (c *checker) endList(ctx context.Context, at *listWalk) error {
	l := c.core.Snapshot().ListOf(at.prefix)
	total, err := l.Total()
	if err != nil {
		return err
	}
	if total != at.n {
		c.found(KindCount, mendIndex, "%s has %d links, but its total is %d", c.nameList(at.prefix), at.n, total)
	}
	if at.set != nil {
		want := int64(at.set.Count())
		got, ok, err := l.DistinctOfSets(ctx)
		if err != nil {
			return err
		}
		if ok && got != want {
			c.found(KindCount, mendIndex, "%s has links of %d accounts, but its sets say %d", c.nameList(at.prefix),
				want, got)
		}
	}
	at.prefix = nil
	at.set = nil
	return nil
}

// nextList returns the prefix of the list of a key, or of the next list.
func (c *checker) nextList(from []byte) ([]byte, error) {
	sc := c.core.Snapshot().Targets.Scan(from, nil, false)
	if !sc.Next() {
		return nil, sc.Err()
	}
	n := codec.TargetLen(sc.Key())
	_, rest, err := codec.DecodeID(sc.Key()[n:])
	if n == 0 || err != nil {
		return nil, nil
	}
	return bytes.Clone(sc.Key()[:len(sc.Key())-len(rest)]), nil
}

// recordAt returns the first entry of the order by record at or after a key that is not a revision.
func (c *checker) recordAt(from []byte, skip int) *lsm.MergingIterator {
	sc := c.core.Snapshot().Records.Scan(from, nil, false)
	for sc.Next() {
		if _, rest, err := codec.DecodeID(sc.Key()); err == nil && len(rest) == 1 {
			continue
		}
		if skip == 0 {
			return sc
		}
		skip--
	}
	return nil
}
