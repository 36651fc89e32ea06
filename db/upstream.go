package db

import (
	"cmp"
	"fmt"
	"slices"
)

// upstream is the position in an upstream.
type upstream struct {
	kind     string
	seq      uint64 // where to go on from: all up to it is in the log
	us       int64  // the time of the event there; 0: not known
	high     uint64 // the highest number ever seen: up to it, an event may be a repeat
	instance int64  // above 1 when the server has begun to count anew
	followed Followed
	epoch    int64 // the upstream with the highest was followed last
}

// seqLimit divides Jetstream's cursors: from here on they are times in microseconds since 1970.
const seqLimit = 1_000_000_000_000_000

// Followed is the time up to which an upstream was followed without a break.
type Followed struct {
	UntilUS int64 // by its clock, microseconds since 1970: what it saw before has come; 0: not known
	ClockUS int64 // its clock less ours as far as events have shown it, microseconds; 0 at most
}

// moved returns the upstream after a batch that ends at an event. A rewind moves nothing back: its events are in the
// log.
func (u upstream) moved(kind string, seq uint64, us int64) upstream {
	u.kind = kind
	u.instance = max(u.instance, 1)
	if u.seq == 0 {
		u.followed = Followed{} // it was by our clock; from now on events tell the upstream's
	}
	if seq >= u.seq {
		u.seq = seq
		u.us = us
	}
	u.high = max(u.high, seq)
	return u
}

// Cursor returns the sequence number from which to follow a host: all events up to it are in the index; 0: none.
func (s *Index) Cursor(host string) uint64 {
	return s.snapshot.Load().upstreams[host].seq
}

// CursorTime returns the time of the event at a host's cursor, by the host's clock, in microseconds since 1970; 0:
// unknown.
func (s *Index) CursorTime(host string) int64 {
	return s.snapshot.Load().upstreams[host].us
}

// Followed is until when a host was followed; zero: it never was, or by a weft that didn't note it.
func (s *Index) Followed(host string) Followed { return s.snapshot.Load().upstreams[host].followed }

// UpstreamKind returns the protocol of a host when it was last followed, v2 or v1; empty: it never was.
func (s *Index) UpstreamKind(host string) string { return s.snapshot.Load().upstreams[host].kind }

// ReachedTime returns the time up to which all events are in the index, by the clock of the last followed host: the
// time of the event at its cursor, at most now. In microseconds since 1970; 0 before the first event.
func (s *Index) ReachedTime() int64 {
	v := s.snapshot.Load()
	us := v.upstreams[v.lastFollowed()].us
	if us == 0 { // its cursor was reset
		us = v.maxUS
	}
	return min(us, s.cfg.Now().UnixMicro())
}

// LastFollowed returns the host that was followed last; empty: none was.
func (s *Index) LastFollowed() string { return s.snapshot.Load().lastFollowed() }

// lastFollowed returns the host that was followed last; empty: none was.
func (v *Snapshot) lastFollowed() (host string) {
	newest := int64(-1)
	for name, u := range v.upstreams {
		if u.epoch > newest || u.epoch == newest && name < host {
			host = name
			newest = u.epoch
		}
	}
	return host
}

// epochOf returns a host's epoch when it is followed: a new one when another host was followed last.
func (v *Snapshot) epochOf(host string) int64 {
	last := v.lastFollowed()
	if last == host {
		return v.upstreams[host].epoch
	}
	return v.upstreams[last].epoch + 1
}

// SetFollowed records the time up to which a host was followed. It never goes back.
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

// Forget resets the upstreams of an empty index: it starts anew, from any position and with any slice.
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

// NewestTime returns the newest time of any event of any host, in microseconds since 1970; 0 before the first.
func (s *Index) NewestTime() int64 { return s.snapshot.Load().maxUS }

// ResetCursor moves a host's cursor to the host's own position, when the host has lost later events or has reset its
// sequence: the same numbers belong to other events from now on. 0 forgets the position.
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
	up.seq = seq
	up.us = 0
	up.instance = max(up.instance, 1) + 1
	up.high = max(up.high, seq)
	return s.commit(f, progress{host: host, upstream: up, maxUS: v.maxUS})
}

// Resyncing reports whether a resync of a host's sync is open.
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

// Upstreams returns the position in each upstream.
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
