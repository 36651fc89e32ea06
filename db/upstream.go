package db

import (
	"context"
	"fmt"
)

// upstream is where we are in an upstream.
type upstream struct {
	seq  uint64 // where to go on from: all up to it is in the log
	high uint64 // the highest number ever seen: up to it, an event may be a repeat
}

// moved is the upstream after a batch that ends at seq. A rewind moves nothing back: what it brings is in the log.
func (u upstream) moved(seq uint64) upstream {
	return upstream{max(u.seq, seq), max(u.high, seq)}
}

// Cursor is the sequence number of a host from which to go on: all up to it is in the index. 0 before the first.
func (s *Store) Cursor(host string) uint64 {
	return s.version.Load().upstreams[host].seq
}

// ResetCursor moves a host's cursor back, after the host has lost what was beyond: it gives those numbers to other events.
func (s *Store) ResetCursor(host string, seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.writer.Exec("UPDATE upstream SET seq = ? WHERE host = ?", int64(seq), host); err != nil {
		return s.fail(fmt.Errorf("db: move the cursor of %s back to %d: %w", host, seq, err))
	}
	v := *s.version.Load()
	s.publish(&v, host, upstream{seq, v.upstreams[host].high})
	return nil
}

// Gap is a span of upstream that was missed.
type Gap struct {
	Host    string `db:"host"`
	From    uint64 `db:"from_seq"` // inclusive
	To      uint64 `db:"to_seq"`   // inclusive
	Why     string `db:"why"`
	State   string `db:"state"`    // open or filled
	FoundUS int64  `db:"found_us"` // microseconds since 1970
}

// AddGap writes a gap down as open.
func (s *Store) AddGap(g Gap) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A rewind meets a hole again.
	if _, err := s.writer.Exec(`INSERT INTO gaps (host, from_seq, to_seq, why, state, found_us) SELECT ?1, ?2, ?3, ?4, 'open', ?5
		WHERE NOT EXISTS (SELECT 1 FROM gaps WHERE host = ?1 AND from_seq <= ?2 AND to_seq >= ?3 AND state = 'open')`,
		g.Host, int64(g.From), int64(g.To), g.Why, s.cfg.Now().UnixMicro()); err != nil {
		return s.fail(fmt.Errorf("db: add gap %d to %d: %w", g.From, g.To, err))
	}
	return nil
}

// Gaps lists the open gaps, the newest hundred at most, newest first: a server that answers nothing for a day leaves
// more than anyone reads.
func (s *Store) Gaps(ctx context.Context) ([]Gap, error) {
	gaps := []Gap{}
	if err := s.reader.SelectContext(ctx, &gaps, "SELECT host, from_seq, to_seq, why, state, found_us FROM gaps WHERE state = 'open' ORDER BY id DESC LIMIT 100"); err != nil {
		return nil, fmt.Errorf("db: list gaps: %w", err)
	}
	return gaps, nil
}

// Stats sums the index up.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
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
	}
	if err := s.Failed(); err != nil {
		st.Failed = err.Error()
	}
	if err := s.reader.GetContext(ctx, &st.Gaps, "SELECT count(*) FROM gaps WHERE state = 'open'"); err != nil {
		return Stats{}, fmt.Errorf("db: count gaps: %w", err)
	}
	return st, nil
}
