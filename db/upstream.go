package db

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// upstream is where we are in an upstream.
type upstream struct {
	kind     string
	seq      uint64 // where to go on from: all up to it is in the log
	us       int64  // the time of the event there; 0: not known
	high     uint64 // the highest number ever seen: up to it, an event may be a repeat
	instance int64  // above 1 when the server has begun to count anew
}

// moved is the upstream after a batch that ends at an event. A rewind moves nothing back: what it brings is in the log.
func (u upstream) moved(kind string, seq uint64, us int64) upstream {
	u.kind, u.instance = kind, max(u.instance, 1)
	if seq >= u.seq {
		u.seq, u.us = seq, us
	}
	u.high = max(u.high, seq)
	return u
}

// Cursor is the sequence number of a host from which to go on: all up to it is in the index. 0 before the first.
func (s *Index) Cursor(host string) uint64 {
	return s.version.Load().upstreams[host].seq
}

// CursorTime is the time of the event at a host's cursor, by the host's clock, in microseconds since 1970; 0: not known.
func (s *Index) CursorTime(host string) int64 {
	return s.version.Load().upstreams[host].us
}

// NewestTime is the newest time of any event of any host, in microseconds since 1970; 0 before the first.
func (s *Index) NewestTime() int64 { return s.version.Load().maxUS }

// ResetCursor moves a host's cursor to where the host is, which has lost what was beyond or counts anew: numbers that we
// have seen belong to other events from now on. 0 forgets where we were.
func (s *Store) ResetCursor(host string, seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return err
	}
	v := s.version.Load()
	f := &fold{s: &s.Index, w: s, d: newDelta(v), host: host, seq: v.seq, nowUS: v.maxUS, maxUS: v.maxUS}
	f.cutResyncs(func(r *resync) bool { return r.host == host })
	up := v.upstreams[host]
	up.seq, up.us, up.instance = seq, 0, max(up.instance, 1)+1
	up.high = max(up.high, seq)
	return s.finish(f, progress{host: host, upstream: up, maxUS: v.maxUS})
}

// Gap is a span of upstream that was missed. From and To are positions as the host counts them: from 10^15 on they are
// microseconds since 1970, below sequence numbers.
type Gap struct {
	ID      int64  `db:"id"`
	Host    string `db:"host"`
	From    uint64 `db:"from_seq"` // inclusive
	To      uint64 `db:"to_seq"`   // inclusive
	FromUS  int64  `db:"from_us"`  // time of the event before, microseconds since 1970; 0: not known
	ToUS    int64  `db:"to_us"`    // time of the event behind; 0: not known
	Why     string `db:"why"`
	State   string `db:"state"`    // GapOpen or GapFilled
	FoundUS int64  `db:"found_us"` // microseconds since 1970
	Tries   int    `db:"tries"`    // to fill it
	TriedUS int64  `db:"tried_us"` // the last of them
	Note    string `db:"note"`     // what came of it
}

// States of a gap.
const (
	GapOpen   = "open"
	GapFilled = "filled"
)

const gapColumns = "id, host, from_seq, to_seq, from_us, to_us, why, state, found_us, tries, tried_us, note"

// AddGap writes a gap down as open. Resyncs of its host that are under way lose their rows with it: they are broken off,
// so that nothing is taken for gone that was only missed.
func (s *Store) AddGap(g Gap) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return err
	}
	v := s.version.Load()
	f := &fold{s: &s.Index, w: s, d: newDelta(v), host: g.Host, seq: v.seq, nowUS: v.maxUS, maxUS: v.maxUS}
	f.cutResyncs(func(r *resync) bool {
		if r.host != g.Host {
			return false
		}
		if r.synced > 0 && r.synced < g.From { // what follows that sync is missing too, as far as it says what is gone
			g.From = r.synced
		}
		return true
	})
	g.FoundUS = s.cfg.Now().UnixMicro()
	f.rows.gaps = append(f.rows.gaps, g)
	return s.finish(f, progress{})
}

// TriedGap notes what came of an attempt to fill a gap.
func (s *Store) TriedGap(id int64, filled bool, note string) error {
	state := GapOpen
	if filled {
		state = GapFilled
	}
	return s.changeGaps("UPDATE gaps SET state = ?1, note = ?2, tries = tries + 1, tried_us = ?3 WHERE id = ?4 AND state = 'open'",
		state, note, s.cfg.Now().UnixMicro(), id)
}

// ShrinkGap notes that a gap was filled up to a position; what is left begins there.
func (s *Store) ShrinkGap(id int64, from uint64, fromUS int64) error {
	return s.changeGaps("UPDATE gaps SET from_seq = ?1, from_us = ?2 WHERE id = ?3 AND from_seq < ?1", int64(from), fromUS, id)
}

// RetryGaps has open gaps tried again at once: that with an id, or with 0 all. It returns how many there are.
func (s *Store) RetryGaps(id int64) (int64, error) {
	var n int64
	if err := s.reader.Get(&n, "SELECT count(*) FROM gaps WHERE state = 'open' AND ?1 IN (0, id)", id); err != nil {
		return 0, fmt.Errorf("db: count gaps: %w", err)
	}
	return n, s.changeGaps("UPDATE gaps SET tries = 0, tried_us = 0 WHERE state = 'open' AND ?1 IN (0, id)", id)
}

func (s *Store) changeGaps(query string, args ...any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return err
	}
	if _, err := s.writer.Exec(query, args...); err != nil {
		return s.fail(fmt.Errorf("db: change gaps: %w", err))
	}
	return nil
}

// Gaps lists the open gaps, the newest hundred at most, newest first: a server that answers nothing for a day leaves
// more than anyone reads.
func (s *Index) Gaps(ctx context.Context) ([]Gap, error) {
	return s.gaps(ctx, "WHERE state = 'open' ORDER BY id DESC LIMIT 100")
}

// AllGaps lists all gaps, those that were filled too, oldest first.
func (s *Index) AllGaps(ctx context.Context) ([]Gap, error) { return s.gaps(ctx, "ORDER BY id") }

func (s *Index) gaps(ctx context.Context, which string) ([]Gap, error) {
	gaps := []Gap{}
	if err := s.reader.SelectContext(ctx, &gaps, "SELECT "+gapColumns+" FROM gaps "+which); err != nil {
		return nil, fmt.Errorf("db: list gaps: %w", err)
	}
	return gaps, nil
}

// Stats sums the index up.
func (s *Index) Stats(ctx context.Context) (Stats, error) {
	v := s.acquire()
	defer s.release(v)
	st := Stats{
		Actors:    int64(v.actors),
		Targets:   int64(v.targets.Groups()),
		Records:   v.linking,
		Links:     v.targets.Total(),
		LastSeq:   v.seq,
		Jobs:      v.jobs,
		StartedUS: v.startedUS,
		Memory:    int64(v.bytes()),
		Runs:      len(v.targets.Runs) + len(v.records.Runs) + len(v.names.Runs),
		Sealing:   s.seals.busy.Load(),
		Merging:   s.merges.busy.Load(),
	}
	for _, f := range v.files.files {
		st.Segments++
		st.SegmentBytes += f.Bytes
	}
	if err := s.Failed(); err != nil {
		st.Failed = err.Error()
	}
	if err := s.reader.GetContext(ctx, &st.Gaps, "SELECT count(*) FROM gaps WHERE state = 'open'"); err != nil {
		return Stats{}, fmt.Errorf("db: count gaps: %w", err)
	}
	return st, nil
}

// Resyncing says that a resync that a host's sync has begun isn't complete.
func (s *Index) Resyncing(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.resyncs {
		if r.host == host {
			return true
		}
	}
	return false
}

// Upstreams is where we are in each upstream.
func (s *Index) Upstreams() []UpstreamInfo {
	v := s.version.Load()
	var out []UpstreamInfo
	for host, u := range v.upstreams {
		out = append(out, UpstreamInfo{Host: host, Kind: u.kind, Seq: int64(u.seq), TimeUS: u.us})
	}
	slices.SortFunc(out, func(a, b UpstreamInfo) int {
		return cmp.Or(cmp.Compare(b.TimeUS, a.TimeUS), cmp.Compare(a.Host, b.Host))
	})
	return out
}
