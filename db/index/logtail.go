package index

import (
	"slices"
	"sort"
	"sync/atomic"

	"weft.dev/weft/db/logrow"
)

// LogTail holds the newest rows of the log in memory. Live streams and the counts of the most linked targets read rows
// within seconds of their commit. From the database, that was 12 % of the CPU time of a replay of recent events (a
// profile in bench/machine). Only a store appends: a follower's LogTail stays empty. One goroutine at a time may append
// or prune, and any may read. The zero LogTail is empty.
type LogTail struct {
	parts  atomic.Pointer[[]tailPart]
	pruned atomic.Uint64 // rows up to this one are no longer in the log
}

// tailPart is the rows of a commit, or of several small ones, with their links.
type tailPart struct {
	logrow.Rows
	bytes int // of memory
}

const (
	// tailBytes bounds the memory of a tail: some 20,000 rows, 20 seconds of a stream of 1,000 events a second. A commit
	// of more leaves it empty.
	tailBytes = 4 << 20
	// tailRowBytes and tailLinkBytes are the sizes of a row and of a link without their bytes.
	tailRowBytes  = 96
	tailLinkBytes = 56
	// tailRows is the number of rows up to which a part takes those of the next commit too, and tailParts divides
	// tailBytes into the bytes of such a part: so there are some dozens of parts however small the commits are.
	tailRows  = 512
	tailParts = 16
)

// Append adds the rows of a commit with their links, both in order. It copies them.
func (t *LogTail) Append(rows []logrow.Row, links []logrow.LinkRow) {
	if len(rows) == 0 {
		return
	}
	part := newTailPart(rows, links)
	var kept []tailPart
	if old := t.parts.Load(); old != nil {
		kept = *old
		if kept[len(kept)-1].last()+1 != rows[0].Seq {
			kept = nil
		}
	}
	if n := len(kept); n > 0 && len(kept[n-1].Log) < tailRows && kept[n-1].bytes+part.bytes <= tailBytes/tailParts {
		part = kept[n-1].with(&part)
		kept = kept[:n-1]
	}
	bytes := part.bytes
	first := len(kept)
	for first > 0 && bytes+kept[first-1].bytes <= tailBytes {
		first--
		bytes += kept[first].bytes
	}
	if part.bytes > tailBytes {
		t.parts.Store(nil)
		return
	}
	next := append(make([]tailPart, 0, len(kept)-first+1), kept[first:]...)
	next = append(next, part)
	t.parts.Store(&next)
}

// Prune says that the log's rows up to one are deleted.
func (t *LogTail) Prune(upTo uint64) { t.pruned.Store(upTo) }

// newTailPart copies rows with all of their bytes: those of a target may be part of a block.
func newTailPart(rows []logrow.Row, links []logrow.LinkRow) tailPart {
	size := 0
	for i := range rows {
		size += len(rows[i].Rkey)
	}
	for i := range links {
		size += len(links[i].Target)
	}
	arena := make([]byte, 0, size)
	hold := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		begin := len(arena)
		arena = append(arena, b...)
		return arena[begin:len(arena):len(arena)]
	}
	part := tailPart{
		Rows: logrow.Rows{Log: append(make([]logrow.Row, 0, len(rows)), rows...),
			Links: append(make([]logrow.LinkRow, 0, len(links)), links...)},
		bytes: size + len(rows)*tailRowBytes + len(links)*tailLinkBytes,
	}
	for i := range part.Log {
		r := &part.Log[i]
		*r = logrow.Row{Seq: r.Seq, TimeUS: r.TimeUS, Op: r.Op, Actor: r.Actor, Collection: r.Collection,
			Rkey: hold(r.Rkey), Rev: r.Rev, Status: r.StatusColumn()} // what the database has
	}
	for i := range part.Links {
		part.Links[i].Target = hold(part.Links[i].Target)
	}
	return part
}

// with returns the rows of a part and of the next one. They share the bytes of keys and targets.
func (p *tailPart) with(next *tailPart) tailPart {
	rows := logrow.Rows{Log: slices.Concat(p.Log, next.Log), Links: slices.Concat(p.Links, next.Links)}
	return tailPart{rows, p.bytes + next.bytes}
}

// between returns the parts that have the rows after a row, up to another; nil: some are not in memory.
func (t *LogTail) between(after, to uint64) []tailPart {
	all := t.parts.Load()
	if all == nil || after < t.pruned.Load() {
		return nil
	}
	parts := *all
	end := sort.Search(len(parts), func(i int) bool { return parts[i].last() >= to })
	if end == len(parts) || parts[0].Log[0].Seq > after+1 {
		return nil
	}
	begin := sort.Search(len(parts), func(i int) bool { return parts[i].last() > after })
	return parts[begin : end+1]
}

func (p *tailPart) last() uint64 { return p.Log[len(p.Log)-1].Seq }

// rows returns the rows after a row, up to another, as Queries.logRows reads them. ok is false where some are not in
// memory.
func (t *LogTail) rows(after, to uint64) (found []logrow.Logged, ok bool) {
	parts := t.between(after, to)
	if parts == nil {
		return nil, false
	}
	found = make([]logrow.Logged, 0, to-after)
	links := logrow.ReadLinks
	for i := range parts {
		part := parts[i].Between(after, to)
		n := len(found)
		found, links = part.AppendLogged(found, links)
		if len(found) < n+len(part.Log) {
			break
		}
	}
	return found, true
}

// newestTime returns the newest time of the rows after a row, up to another. ok is false where some are not in memory.
func (t *LogTail) newestTime(after, to uint64) (us int64, ok bool) {
	parts := t.between(after, to)
	for i := range parts {
		rows := parts[i].Between(after, to).Log
		for j := range rows {
			us = max(us, rows[j].TimeUS)
		}
	}
	return us, parts != nil
}
