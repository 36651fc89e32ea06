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
	followed Followed
	epoch    int64 // the upstream with the highest was followed last
}

// seqLimit divides the numbers that Jetstream takes for a cursor: from here on they are times in microseconds since 1970.
const seqLimit = 1_000_000_000_000_000

// Followed is until when an upstream was followed without a break.
type Followed struct {
	UntilUS int64 // by its clock, microseconds since 1970: what it saw before has come; 0: not known
	ClockUS int64 // its clock less ours as far as events have shown it, microseconds; 0 at most
}

// moved is the upstream after a batch that ends at an event. A rewind moves nothing back: what it brings is in the log.
func (u upstream) moved(kind string, seq uint64, us int64) upstream {
	u.kind, u.instance = kind, max(u.instance, 1)
	if u.seq == 0 {
		u.followed = Followed{} // it was by our clock; from now on events tell the upstream's
	}
	if seq >= u.seq {
		u.seq, u.us = seq, us
	}
	u.high = max(u.high, seq)
	return u
}

// Cursor is the sequence number of a host from which to go on: all up to it is in the index. 0 before the first.
func (s *Index) Cursor(host string) uint64 {
	return s.snapshot.Load().upstreams[host].seq
}

// CursorTime is the time of the event at a host's cursor, by the host's clock, in microseconds since 1970; 0: not known.
func (s *Index) CursorTime(host string) int64 {
	return s.snapshot.Load().upstreams[host].us
}

// Followed is until when a host was followed; zero: it never was, or by a weft that didn't note it.
func (s *Index) Followed(host string) Followed { return s.snapshot.Load().upstreams[host].followed }

// UpstreamKind is what a host spoke when it was followed last, v2 or v1; empty: it never was.
func (s *Index) UpstreamKind(host string) string { return s.snapshot.Load().upstreams[host].kind }

// ReachedTime is up to which time all is in the index, by the clock of the host that was followed last: the time of the
// event at its cursor, and no later than now. In microseconds since 1970; 0 before the first event.
func (s *Index) ReachedTime() int64 {
	v := s.snapshot.Load()
	us := v.upstreams[v.lastFollowed()].us
	if us == 0 { // its cursor was reset
		us = v.maxUS
	}
	return min(us, s.cfg.Now().UnixMicro())
}

// LastFollowed is the host that was followed last; empty: none ever was, and the index begins where it is told to.
func (s *Index) LastFollowed() string { return s.snapshot.Load().lastFollowed() }

// lastFollowed is the host that was followed last; empty: none was.
func (v *Snapshot) lastFollowed() (host string) {
	newest := int64(-1)
	for name, u := range v.upstreams {
		if u.epoch > newest || u.epoch == newest && name < host {
			host, newest = name, u.epoch
		}
	}
	return host
}

// epochOf is a host's epoch once it is followed: a new one when another host was followed last.
func (v *Snapshot) epochOf(host string) int64 {
	last := v.lastFollowed()
	if last == host {
		return v.upstreams[host].epoch
	}
	return v.upstreams[last].epoch + 1
}

// SetFollowed notes until when a host was followed. It never goes back.
func (s *Store) SetFollowed(host, kind string, until Followed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return err
	}
	v := s.snapshot.Load()
	f := s.newApplier(v.maxUS)
	f.host = host
	up := v.upstreams[host]
	up.kind = kind
	up.instance = max(up.instance, 1)
	up.epoch = v.epochOf(host)
	until.UntilUS = max(until.UntilUS, up.followed.UntilUS)
	up.followed = until
	return s.commit(f, progress{host: host, upstream: up, maxUS: v.maxUS})
}

// Forget makes an index that holds nothing begin anew: where it was told to, with any slice.
func (s *Store) Forget() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return err
	}
	v := s.snapshot.Load()
	if v.linking != 0 || v.targets.Total() != 0 {
		return fmt.Errorf("db: forget the upstreams of an index that holds %d records", v.linking)
	}
	if _, err := s.writer.Exec(`BEGIN IMMEDIATE; DELETE FROM upstream; DELETE FROM gaps WHERE state = 'open';
		DELETE FROM meta WHERE key = 'started_us'; COMMIT`); err != nil {
		return s.fail(fmt.Errorf("db: forget the upstreams: %w", err))
	}
	next := *v
	next.upstreams = map[string]upstream{}
	next.maxUS = 0
	next.startedUS = 0
	s.snapshot.Store(&next)
	return nil
}

// NewestTime is the newest time of any event of any host, in microseconds since 1970; 0 before the first.
func (s *Index) NewestTime() int64 { return s.snapshot.Load().maxUS }

// ResetCursor moves a host's cursor to where the host is, which has lost what was beyond or counts anew: numbers that we
// have seen belong to other events from now on. 0 forgets where we were.
func (s *Store) ResetCursor(host string, seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return err
	}
	v := s.snapshot.Load()
	f := s.newApplier(v.maxUS)
	f.host = host
	f.abortResyncs(func(r *resync) bool { return r.host == host })
	up := v.upstreams[host]
	up.seq, up.us, up.instance = seq, 0, max(up.instance, 1)+1
	up.high = max(up.high, seq)
	return s.commit(f, progress{host: host, upstream: up, maxUS: v.maxUS})
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
	v := s.snapshot.Load()
	f := s.newApplier(v.maxUS)
	f.host = g.Host
	f.abortResyncs(func(r *resync) bool {
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
	return s.commit(f, progress{})
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

// retryGaps makes an open gap due at once, or all with the id 0.
const retryGaps = "UPDATE gaps SET tries = 0, tried_us = 0 WHERE state = 'open' AND ?1 IN (0, id)"

// RetryGaps makes an open gap due at once, or all with the id 0. It returns their number.
func (s *Store) RetryGaps(id int64) (int64, error) {
	n, err := s.countOpenGaps(id)
	if err != nil {
		return 0, err
	}
	return n, s.changeGaps(retryGaps, id)
}

// countOpenGaps counts the open gap with an id, or all with the id 0.
func (s *Index) countOpenGaps(id int64) (n int64, err error) {
	if err := s.reader.Get(&n, "SELECT count(*) FROM gaps WHERE state = 'open' AND ?1 IN (0, id)", id); err != nil {
		return 0, fmt.Errorf("db: count gaps: %w", err)
	}
	return n, nil
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
		Targets:   int64(v.targets.Prefixes()),
		Records:   v.linking,
		Links:     v.targets.Total(),
		LastSeq:   v.seq,
		Jobs:      v.jobs,
		StartedUS: v.startedUS,
		Memory:    int64(v.bytes()),
		Runs:      len(v.targets.Runs) + len(v.records.Runs) + len(v.names.Runs),
		Sealing:   s.seals.busy.Load(),
		Merging:   s.compactions.busy.Load(),
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
func (s *Store) Resyncing(host string) bool {
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
	v := s.snapshot.Load()
	var out []UpstreamInfo
	for host, u := range v.upstreams {
		out = append(out, UpstreamInfo{Host: host, Kind: u.kind, Seq: int64(u.seq), TimeUS: u.us})
	}
	slices.SortFunc(out, func(a, b UpstreamInfo) int {
		return cmp.Or(cmp.Compare(b.TimeUS, a.TimeUS), cmp.Compare(a.Host, b.Host))
	})
	return out
}
