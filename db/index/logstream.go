package index

import (
	"context"
	"errors"
	"fmt"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/link"
)

// Log reads the log after a row, in order: at most limit rows, and fewer where they have more than 16,384 links. last
// is the last row read, or after when there is none; rows of internal bookkeeping are skipped, so there may be fewer
// entries than rows. The caller may keep the strings.
func (s *Queries) Log(ctx context.Context, after uint64, limit int) (entries []LogEntry, last uint64, err error) {
	return s.readLog(ctx, after, limit, true)
}

// LogLinks is Log without the DIDs of the accounts, which take two fifths of the time
// (a profile of 400 events a second from half a million accounts).
func (s *Queries) LogLinks(ctx context.Context, after uint64, limit int) (entries []LogEntry, last uint64, err error) {
	return s.readLog(ctx, after, limit, false)
}

func (s *Queries) readLog(ctx context.Context, after uint64, limit int, withDIDs bool) (entries []LogEntry, last uint64,
	err error) {
	to := min(after+uint64(limit), s.core.Snapshot().Seq)
	if to <= after {
		return nil, after, nil
	}
	rows, err := s.logRows(ctx, after, to)
	if err != nil {
		return nil, after, err
	}
	entries, err = s.logEntries(ctx, rows, withDIDs)
	if err != nil {
		return nil, after, fmt.Errorf("db: read the log: %w", err)
	}
	return entries, after + uint64(len(rows)), nil
}

// LogTime returns the newest time of the log's rows after a row, by the upstreams' clocks, in microseconds since 1970:
// of at most limit rows; last is the last of them. It reads no names.
func (s *Queries) LogTime(ctx context.Context, after uint64, limit int) (newestUS int64, last uint64, err error) {
	to := min(after+uint64(limit), s.core.Snapshot().Seq)
	if to <= after {
		return 0, after, nil
	}
	if us, ok := s.core.Tail.newestTime(after, to); ok {
		return us, to, nil
	}
	rows := uint64(0)
	err = logrow.Scan(ctx, s.core.Reader, after, to, func(found logrow.Rows) error {
		for i := range found.Log {
			newestUS = max(newestUS, found.Log[i].TimeUS)
		}
		rows += uint64(len(found.Log))
		return nil
	})
	if err != nil {
		return 0, after, fmt.Errorf("db: read the times of the log: %w", err)
	}
	if rows != to-after {
		return 0, after, ErrLogPruned
	}
	return newestUS, to, nil
}

// logRows reads rows of the log with their links, from memory or from the database. It reads at least one row, and ends
// where the rows have more than logrow.ReadLinks links.
func (s *Queries) logRows(ctx context.Context, after, to uint64) (found []logrow.Logged, err error) {
	found, ok := s.core.Tail.rows(after, to)
	if ok {
		return found, nil
	}
	found = make([]logrow.Logged, 0, to-after)
	links := logrow.ReadLinks
	next := after + 1
	err = logrow.Scan(ctx, s.core.Reader, after, to, func(rows logrow.Rows) error {
		// Each row follows the one before: the writer counts them, and they go from the front.
		if rows.Log[0].Seq != next {
			return ErrLogPruned
		}
		found, links = rows.AppendLogged(found, links)
		next += uint64(len(rows.Log))
		if uint64(len(found)) < next-after-1 {
			return errFull
		}
		return nil
	})
	switch {
	case errors.Is(err, errFull):
		return found, nil
	case err == nil && next != to+1:
		err = ErrLogPruned
	}
	if errors.Is(err, ErrLogPruned) {
		return nil, ErrLogPruned
	}
	if err != nil {
		return nil, fmt.Errorf("db: read the log: %w", err)
	}
	return found, nil
}

// errFull ends a read whose rows have enough links.
var errFull = errors.New("enough links")

// logEntries resolves the names in rows.
func (s *Queries) logEntries(ctx context.Context, rows []logrow.Logged, withDIDs bool) ([]LogEntry, error) {
	actors := make([]uint64, 0, len(rows))
	targets := make([][]byte, 0, 2*len(rows))
	for i := range rows {
		if withDIDs {
			actors = append(actors, rows[i].Actor)
		}
		for _, links := range [2][]codec.RecordLink{rows[i].Removed, rows[i].Added} {
			for _, l := range links {
				targets = append(targets, l.Target)
			}
		}
	}
	dids, err := s.core.AccountDIDs(ctx, actors)
	if err != nil {
		return nil, err
	}
	names, err := s.core.TargetStrings(ctx, targets)
	if err != nil {
		return nil, err
	}
	entries := make([]LogEntry, 0, len(rows))
	for i := range rows {
		r := &rows[i]
		e := LogEntry{Seq: r.Seq, TimeUS: r.TimeUS, Op: r.Op}
		if withDIDs {
			e.DID = dids[i]
		}
		switch r.Op {
		case logrow.OpAccount:
			e.Status = logrow.Status(r.Status & 15)
		case logrow.OpCreate, logrow.OpUpdate, logrow.OpDelete, logrow.OpRewritten:
			if r.Op == logrow.OpRewritten {
				e.Op = logrow.OpUpdate
			}
			e.Collection, err = s.core.NSID(ctx, r.Collection)
			if err != nil {
				return nil, err
			}
			if r.Rkey == nil {
				return nil, fmt.Errorf("log row %d: %w", r.Seq, codec.ErrMalformed)
			}
			e.Rkey, e.Rev = codec.RkeyString(r.Rkey), string(link.AppendTID(nil, r.Rev))
			e.Removed, err = s.namedLinks(ctx, r.Removed, names)
			if err != nil {
				return nil, err
			}
			names = names[len(r.Removed):]
			e.Added, err = s.namedLinks(ctx, r.Added, names)
			if err != nil {
				return nil, err
			}
			names = names[len(r.Added):]
		default:
			continue
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// namedLinks returns links with the names of their sources and targets, nil for none. names begins with those of the
// targets.
func (s *Queries) namedLinks(ctx context.Context, links []codec.RecordLink, names []string) ([]Link, error) {
	if len(links) == 0 {
		return nil, nil
	}
	named := make([]Link, len(links))
	for i, l := range links {
		source, err := s.core.Source(ctx, l.Source)
		if err != nil {
			return nil, err
		}
		named[i] = Link{Path: source.Path, Target: names[i]}
	}
	return named, nil
}

// Seq returns the newest log row that queries see.
func (s *Queries) Seq() uint64 { return s.core.Snapshot().Seq }

// SeqAt returns the row before the first one of a time or later, in microseconds since 1970: the position to read the
// log from. It is exact where times grow with the rows, as they do live. ErrLogPruned reports that pruned rows may be
// of that time.
func (s *Queries) SeqAt(ctx context.Context, us int64) (uint64, error) {
	oldest, newest, err := s.LogRange(ctx)
	if err != nil {
		return 0, err
	}
	if newest == 0 {
		return s.Seq(), nil
	}
	seq, timeUS, err := logrow.SeqAt(ctx, s.core.Reader, oldest, newest, us)
	switch {
	case err != nil:
		return 0, fmt.Errorf("db: find a time in the log: %w", err)
	case seq == oldest && oldest > 1 && timeUS > us:
		return 0, ErrLogPruned
	}
	return seq - 1, nil
}

// LogRange returns the oldest and the newest row of the log; both are 0 while it is empty.
func (s *Queries) LogRange(ctx context.Context) (oldest, newest uint64, err error) {
	return logrow.Range(ctx, s.core.Reader)
}
