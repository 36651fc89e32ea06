package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
)

// scanLog reads the log from a row on, up to another. It passes on a damaged block, and goes on behind it.
func (c *checker) scanLog(ctx context.Context, from, to uint64, damage func(*logrow.BlockError),
	do func(logrow.Rows) error) error {
	for after := from - 1; after < to; {
		err := logrow.Scan(ctx, c.s.Reader(), after, to, do)
		var damaged *logrow.BlockError
		if !errors.As(err, &damaged) {
			return err
		}
		damage(damaged)
		after = damaged.Last
	}
	return nil
}

// logRows holds the rules of the rows of the log alone, and what it has seen of them.
type logRows struct {
	c           *checker
	names       logrow.NameBounds
	sources     map[uint64]uint64        // collection by source
	replaced    *logrow.Seqs             // log rows that put a body out of date
	resyncs     map[uint64]openResync    // by the log row that must begin it
	statuses    map[uint64]changedStatus // newest, by account
	purged      map[uint64]purge
	first, last uint64
	rows        uint64
	damaged     bool // a block is damaged: what its rows changed is not known
}

type openResync struct{ actor, rev uint64 }

type changedStatus struct {
	seq    uint64
	status logrow.Status
}

// checkRows checks the log rows from one on, up to the newest, by themselves.
func (c *checker) checkRows(ctx context.Context, from, newest uint64) (*logRows, error) {
	l, err := c.newLogRows(ctx, from)
	if err != nil {
		return nil, err
	}
	defer l.replaced.Close()
	err = c.scanLog(ctx, from, newest, l.damage, func(rows logrow.Rows) error {
		links := rows.Links
		for i := range rows.Log {
			n := 0
			for n < len(links) && links[n].ID>>logrow.LinkShift == rows.Log[i].Seq {
				n++
			}
			if err := l.row(&rows.Log[i], links[:n]); err != nil {
				return err
			}
			links = links[n:]
			if err := c.step(ctx, "the log", int64(newest-from+1)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return l, l.end(ctx)
}

func (c *checker) newLogRows(ctx context.Context, from uint64) (l *logRows, err error) {
	l = &logRows{c: c, sources: map[uint64]uint64{}, resyncs: map[uint64]openResync{},
		statuses: map[uint64]changedStatus{}, purged: map[uint64]purge{}}
	q := c.s.Reader()
	l.names, err = logrow.NewestNames(ctx, q)
	if err != nil {
		return nil, err
	}
	var sources []struct{ ID, Collection int64 }
	if err := q.SelectContext(ctx, &sources, "SELECT id, collection FROM sources"); err != nil {
		return nil, err
	}
	for _, s := range sources {
		l.sources[uint64(s.ID)] = uint64(s.Collection)
	}
	var resyncs []struct{ Since, Actor, Rev int64 }
	if err := q.SelectContext(ctx, &resyncs,
		"SELECT since_seq AS since, actor, rev FROM resyncs WHERE since_seq >= ?", int64(from)); err != nil {
		return nil, err
	}
	for _, r := range resyncs {
		l.resyncs[uint64(r.Since)] = openResync{uint64(r.Actor), uint64(r.Rev)}
	}
	l.replaced, err = logrow.ReadSeqs(ctx, q, "SELECT seq FROM replaced WHERE seq >= ? ORDER BY seq", int64(from))
	return l, err
}

// damage reports a damaged block.
func (l *logRows) damage(e *logrow.BlockError) {
	l.found("%v", e)
	l.damaged = true
	if e.First <= e.Last && e.First >= l.last {
		l.first = cmp.Or(l.first, e.First)
		l.last = e.Last
		l.rows += e.Last - e.First + 1
	}
}

// row checks a row and its links.
func (l *logRows) row(r *logrow.Row, links []logrow.LinkRow) error {
	if l.first == 0 {
		l.first = r.Seq
	}
	l.last = r.Seq
	l.rows++
	if lacksPart(r) {
		l.found("log row %d, of op %d, lacks a part, or has one that is none", r.Seq, r.Op)
	}
	if r.Actor == 0 || r.Actor > l.names.Actors || r.Collection > l.names.Collections {
		l.found("log row %d is of account %d and collection %d, and one of them has no row", r.Seq, r.Actor,
			r.Collection)
	}
	for i := range links {
		k := &links[i]
		collection, ok := l.sources[k.Source]
		if !ok || collection != r.Collection || r.Op == logrow.OpDelete && k.Op == codec.Linked ||
			k.Rank < 0 && (r.Rkey == nil || !codec.IsTID(r.Rkey)) {
			l.found("link %d, of op %d and source %d, does not fit log row %d", k.ID, k.Op, k.Source, r.Seq)
		}
	}
	replaces, err := l.replaced.Has(r.Seq)
	if err != nil {
		return err
	}
	switch changes := changesLinks(r.Op); {
	case changes && len(links) == 0 && !(r.Op == logrow.OpUpdate && replaces):
		l.found("log row %d changed nothing: it has no links", r.Seq)
	case !changes && len(links) > 0:
		l.found("log row %d, of op %d, has links", r.Seq, r.Op)
	}
	if begun, ok := l.resyncs[r.Seq]; ok && r.Op == logrow.OpSync && begun == (openResync{r.Actor, r.Rev}) {
		delete(l.resyncs, r.Seq)
	}
	if r.Op == logrow.OpAccount {
		l.statuses[r.Actor] = changedStatus{r.Seq, logrow.Status(r.Status & 15)}
		if logrow.Status(r.Status&15) == logrow.StatusDeleted {
			l.purged[r.Actor] = purge{r.Seq, l.purged[r.Actor].last}
		}
	}
	return nil
}

func (l *logRows) found(format string, args ...any) { l.c.found(KindLog, mendDB, format, args...) }

// lacksPart reports whether a row lacks a part that each row of its op has, or has one that none has.
func lacksPart(r *logrow.Row) bool {
	switch r.Op {
	case logrow.OpCreate, logrow.OpUpdate, logrow.OpDelete:
		return r.Collection == 0 || r.Rkey == nil || r.Status > logrow.StatusOutOfOrder
	case logrow.OpSeen, logrow.OpRewritten:
		return r.Collection == 0 || r.Rkey == nil || r.Status != 0
	case logrow.OpAccount:
		return r.Rkey != nil || r.Status == 0
	case logrow.OpSync, logrow.OpSynced, logrow.OpBegun, logrow.OpTurn:
		return r.Rkey != nil || r.Status != 0
	case logrow.OpJob:
		return r.Status != 0
	}
	return true
}

// changesLinks reports whether rows of an op have links.
func changesLinks(op logrow.Op) bool {
	switch op {
	case logrow.OpCreate, logrow.OpUpdate, logrow.OpDelete, logrow.OpRewritten:
		return true
	}
	return false
}

// end checks all rows together.
func (l *logRows) end(ctx context.Context) error {
	if l.rows > 0 && l.rows != l.last-l.first+1 {
		l.found("log rows %d to %d are %d", l.first, l.last, l.rows)
	}
	if l.damaged {
		l.c.report.Left = append(l.c.report.Left,
			"what the log says of accounts and of each link: a block of the log is damaged")
		return nil
	}
	for actor, changed := range l.statuses {
		var status int64
		err := l.c.s.Reader().GetContext(ctx, &status, "SELECT ifnull((SELECT status FROM actors WHERE id = ?), -1)",
			int64(actor))
		if err != nil {
			return fmt.Errorf("read the status of account %d: %w", actor, err)
		}
		if status >= 0 && status != int64(changed.status) {
			l.found("log row %d gives account %d the status %d, and it has %d", changed.seq, actor, changed.status, status)
		}
	}
	for since, r := range l.resyncs {
		l.found("the resync of account %d is open since log row %d, which does not begin it", r.actor, since)
	}
	return nil
}
