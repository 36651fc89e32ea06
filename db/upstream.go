package db

import (
	"cmp"
	"fmt"
	"slices"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/index"
)

// Cursor returns the sequence number from which to follow a host: all events up to it are in the index; 0: none.
func (s *Index) Cursor(host string) uint64 {
	return s.core.Snapshot().Upstreams[host].Seq
}

// CursorTime returns the time of the event at a host's cursor, by the host's clock, in microseconds since 1970; 0:
// unknown.
func (s *Index) CursorTime(host string) int64 {
	return s.core.Snapshot().Upstreams[host].US
}

// Followed returns the time up to which a host was followed; zero: it was never followed, or by a weft that didn't
// store the time.
func (s *Index) Followed(host string) Followed { return s.core.Snapshot().Upstreams[host].Followed }

// UpstreamKind returns the protocol of a host when it was last followed, v2 or v1; empty: it was never followed.
func (s *Index) UpstreamKind(host string) string { return s.core.Snapshot().Upstreams[host].Kind }

// ReachedTime returns the time up to which all events are in the index, by the clock of the last followed host: the
// time of the event at its cursor, at most now. In microseconds since 1970; 0 before the first event.
func (s *Index) ReachedTime() int64 {
	v := s.core.Snapshot()
	us := v.Upstreams[v.LastFollowed()].US
	if us == 0 { // its cursor was reset
		us = v.MaxUS
	}
	return min(us, s.cfg.Now().UnixMicro())
}

// LastFollowed returns the host that was followed last; empty: no host was followed.
func (s *Index) LastFollowed() string { return s.core.Snapshot().LastFollowed() }

// SetFollowed records the time up to which a host was followed. It never goes back.
func (s *Store) SetFollowed(host, kind string, until Followed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return err
	}
	v := s.core.Snapshot()
	f := s.newPart(apply.Origin{Host: host, TimeUS: v.MaxUS})
	up := v.Upstreams[host]
	up.Kind = kind
	up.Instance = max(up.Instance, 1)
	up.Epoch = v.EpochOf(host)
	until.UntilUS = max(until.UntilUS, up.Followed.UntilUS)
	up.Followed = until
	return s.commit(f, progress{host: host, upstream: up, maxUS: v.MaxUS})
}

// Forget resets the upstreams of an empty index, so that it can start again from any position and with any slice.
func (s *Store) Forget() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return err
	}
	v := s.core.Snapshot()
	if v.Linking != 0 || v.Targets.Total() != 0 {
		return fmt.Errorf("db: forget the upstreams of an index that holds %d records", v.Linking)
	}
	if _, err := s.writer.Exec(`BEGIN IMMEDIATE; DELETE FROM upstream; DELETE FROM gaps WHERE state = 'open';
		DELETE FROM meta WHERE key = 'started_us'; COMMIT`); err != nil {
		return s.fail(fmt.Errorf("db: forget the upstreams: %w", err))
	}
	s.openGaps.changed()
	next := *v
	next.Upstreams = map[string]index.Upstream{}
	next.MaxUS = 0
	next.StartedUS = 0
	s.core.SetSnapshot(&next)
	return nil
}

// NewestTime returns the newest time of any event of any host, in microseconds since 1970; 0 before the first.
func (s *Index) NewestTime() int64 { return s.core.Snapshot().MaxUS }

// ResetCursor moves a host's cursor to the host's own position after the host has lost later events or has reset its
// sequence: from then on the same numbers belong to other events. 0 forgets the position.
func (s *Store) ResetCursor(host string, seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Failed(); err != nil {
		return err
	}
	v := s.core.Snapshot()
	f := s.newPart(apply.Origin{Host: host, TimeUS: v.MaxUS})
	f.AbortResyncs(host)
	up := v.Upstreams[host]
	up.Seq = seq
	up.US = 0
	up.Instance = max(up.Instance, 1) + 1
	up.High = max(up.High, seq)
	return s.commit(f, progress{host: host, upstream: up, maxUS: v.MaxUS})
}

// Resyncing reports whether a resync of a host's sync is open.
func (s *Store) Resyncing(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Resyncing(host)
}

// Upstreams returns the position in each upstream.
func (s *Index) Upstreams() []UpstreamInfo {
	v := s.core.Snapshot()
	var out []UpstreamInfo
	for host, u := range v.Upstreams {
		out = append(out, UpstreamInfo{Host: host, Kind: u.Kind, Seq: int64(u.Seq), TimeUS: u.US})
	}
	slices.SortFunc(out, func(a, b UpstreamInfo) int {
		return cmp.Or(cmp.Compare(b.TimeUS, a.TimeUS), cmp.Compare(a.Host, b.Host))
	})
	return out
}

// UpstreamInfo is the position of the index in an upstream.
type UpstreamInfo struct {
	Host   string
	Kind   string
	Seq    int64
	TimeUS int64 `db:"time_us"`
}
