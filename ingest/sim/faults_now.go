package sim

import (
	"slices"
	"time"
)

// SetFaults replaces the faults from now on. It is safe while the server runs, as are all methods in this file.
func (s *Server) SetFaults(f Faults) { s.faults.set(f) }

// DropAll drops all connections without a close frame and returns their number. It also drops a subscription during its
// upgrade, when it joins.
func (s *Server) DropAll() int {
	s.drops.Add(1)
	subs := s.subscribers()
	for _, c := range subs {
		_ = c.raw.Close() // may be closed already
		c.cancel()
	}
	return len(subs)
}

// Stall lets connections open and stay open, and sends nothing, not even pings, for d from now. Zero ends a stall.
func (s *Server) Stall(d time.Duration) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.stalled = time.Now().Add(d)
}

// Refuse answers the next n subscriptions with the status, before the upgrade; a positive retryAfter is sent, in whole
// seconds.
func (s *Server) Refuse(n, status int, retryAfter time.Duration) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.refuseLeft = n
	s.faults.refuseStatus = status
	s.faults.refuseRetry = retryAfter
}

// FailArchive answers the next n requests of planSnapshot, getSegment and getBlock with the status. The official client
// tries three times before it skips the data.
func (s *Server) FailArchive(n, status int) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.archiveLeft = n
	s.faults.archiveCode = status
}

// CorruptBlock serves a block of a segment with some flipped bits, in files and alone, until HealBlocks. The file on
// disk and the live streams that read it are unchanged.
func (s *Server) CorruptBlock(segment uint64, block int) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	if s.faults.bad == nil {
		s.faults.bad = map[uint64][]int{}
	}
	if !slices.Contains(s.faults.bad[segment], block) {
		s.faults.bad[segment] = append(s.faults.bad[segment], block)
	}
}

// HealBlocks ends all CorruptBlocks.
func (s *Server) HealBlocks() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.bad = nil
}

// JumpFuture moves the network's clock ahead by d: all later events, revs and TIDs are later by d. It can't be undone.
func (s *Server) JumpFuture(d time.Duration) {
	s.gen.Lock()
	defer s.gen.Unlock()
	s.net.AdvanceTo(s.net.Now() + d.Microseconds())
}

// Crash loses the last k events that aren't sealed (fewer when there are fewer), though they have been sent, and drops
// all connections; the seqs are used again for other events. With redeliver the server gets the lost events from its
// relay once more: the next events are the same, in another order among accounts, each account's own order kept.
// Without, they are gone for good, as when the relay's window has passed: a subscriber that had seen them knows more
// than the server. It returns how many were lost.
func (s *Server) Crash(k int, redeliver bool) int {
	s.gen.Lock()
	defer s.gen.Unlock()
	lost := s.log.lose(k)
	s.DropAll()
	if redeliver && len(lost) > 0 {
		events := make([]Event, len(lost))
		for i, e := range lost {
			events[i] = e.Event
		}
		r := rng{s.faults.get().Seed ^ lost[0].Seq}
		reorder(&r, events)
		s.requeue = append(events, s.requeue...)
	}
	return len(lost)
}

// reorder shuffles events but keeps the order of each account's. Times stay in order: the server assigns them on
// arrival.
func reorder(r *rng, events []Event) {
	places := map[string][]int{} // indexes of each account in the new order
	order := make([]int, len(events))
	times := make([]int64, len(events))
	for i := range events {
		order[i] = i
		times[i] = events[i].TimeUS
	}
	for i := len(order) - 1; i > 0; i-- {
		j := r.n(i + 1)
		order[i], order[j] = order[j], order[i]
	}
	for place, i := range order {
		places[events[i].DID] = append(places[events[i].DID], place)
	}
	out := make([]Event, len(events))
	for i := range events { // in the old order: an account's events take its indexes from front to back
		p := places[events[i].DID]
		out[p[0]] = events[i]
		places[events[i].DID] = p[1:]
	}
	copy(events, out)
	for i := range events {
		events[i].TimeUS = times[i]
	}
}

// redeliver repeats every n-th event directly after itself. emitted is the number of events including these.
func redeliver(events []Event, emitted int, f Faults) []Event {
	out := make([]Event, 0, len(events)+len(events)/f.RedeliverEvery+1)
	for i := range events {
		out = append(out, events[i])
		if f.due(causeRedeliver, f.RedeliverEvery, emitted-len(events)+i+1) {
			out = append(out, events[i])
		}
	}
	return out
}
