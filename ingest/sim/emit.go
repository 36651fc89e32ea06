package sim

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// batch is the number of events that are generated and published together.
const batch = 256

// buildBacklog generates and seals the backlog. Generation and sealing run concurrently.
func (s *Server) buildBacklog() error {
	left := s.cfg.Backlog
	if s.cfg.Total > 0 {
		left = min(left, s.cfg.Total)
	}
	batches := make(chan []Event, 16)
	go func() {
		defer close(batches)
		for left > 0 {
			room := s.cfg.EventsPerSegment
			for room > 0 && left > 0 {
				k := min(left, room, 4096)
				events := make([]Event, k)
				for i := range events {
					events[i] = s.net.Next()
					s.emitted++
					events[i].Seq = uint64(s.emitted)
				}
				select {
				case batches <- events:
				case <-s.closing:
					return
				}
				left -= k
				room -= k
			}
			select {
			case batches <- nil: // end of a segment
			case <-s.closing:
				return
			}
		}
	}()
	for index := uint64(0); ; index++ {
		first, ok := <-batches
		if !ok {
			return nil
		}
		seg, err := writeSegment(s.dir, index, func() []Event {
			if first != nil {
				b := first
				first = nil
				return b
			}
			return <-batches
		})
		if err != nil {
			return err
		}
		s.log.addSegment(seg)
	}
}

// Emit generates n events at once; faults may add some. It returns when they are in the log and their full segments are
// sealed.
func (s *Server) Emit(n int) {
	s.gen.Lock()
	defer s.gen.Unlock()
	for n > 0 && s.failure == nil {
		k := min(n, batch)
		if s.cfg.Total > 0 {
			k = min(k, s.cfg.Total-s.emitted+len(s.requeue))
		}
		events := s.produce(k)
		if len(events) == 0 {
			return
		}
		_, tip := s.log.bounds()
		entries := make([]*entry, len(events))
		for i := range events {
			events[i].Seq = tip + uint64(i) + 1
			entries[i] = &entry{Event: events[i]}
		}
		s.log.append(entries)
		n -= k
		if err := s.seal(); err != nil {
			s.failure = err
			s.logger.Error("sim: sealing failed, nothing is emitted any more", "err", err)
		}
	}
}

// produce returns k events, first those that a crash has lost and requeued.
func (s *Server) produce(k int) []Event {
	f := s.faults.get()
	if s.cfg.WallClock {
		s.net.AdvanceTo(time.Now().UnixMicro())
	}
	events := make([]Event, 0, k+1)
	if again := min(k, len(s.requeue)); again > 0 {
		events = append(events, s.requeue[:again]...)
		s.requeue = s.requeue[again:]
		k -= again
	}
	fresh := len(events)
	for range k {
		events = append(events, s.net.Next())
		s.emitted++
	}
	if f.Reorder > 1 {
		r := rng{f.Seed ^ uint64(s.emitted)}
		for part := events[fresh:]; len(part) > 0; {
			w := min(f.Reorder, len(part))
			reorder(&r, part[:w])
			part = part[w:]
		}
	}
	if f.RedeliverEvery > 0 {
		events = redeliver(events, s.emitted, f)
	}
	return events
}

// seal writes a segment when there are enough events.
func (s *Server) seal() error {
	for {
		sealed, tip := s.log.bounds()
		if tip-sealed < uint64(s.cfg.EventsPerSegment) {
			return nil
		}
		entries := s.log.unsealed(s.cfg.EventsPerSegment)
		seg, err := writeSegment(s.dir, uint64(len(s.log.segments())), func() []Event {
			k := min(len(entries), batch)
			out := make([]Event, k)
			for i := range out {
				out[i] = entries[i].Event
			}
			entries = entries[k:]
			return out
		})
		if err != nil {
			return err
		}
		s.log.addSegment(seg)
	}
}

// Replay calls fn with every event of the log from a seq to the present tip, as the server would send it now. It is the
// truth for a test whose faults have changed the order or the numbers. The events may share memory with the log.
func (s *Server) Replay(from uint64, fn func(Event) error) error {
	_, tip := s.log.bounds()
	for from = max(from, 1); from <= tip; {
		entries, err := s.log.read(context.Background(), from)
		if err != nil {
			return fmt.Errorf("sim: replay: %w", err)
		}
		for _, e := range entries {
			if e.Seq > tip {
				return nil
			}
			if err := fn(e.Event); err != nil {
				return err
			}
		}
		if len(entries) == 0 {
			return errors.New("sim: replay: empty block")
		}
		from = entries[len(entries)-1].Seq + 1
	}
	return nil
}
