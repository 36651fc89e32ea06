package sim

import (
	"context"
	"errors"
	"sort"
	"sync"
)

// hotEvents is the number of newest sealed events that stay in memory with their frames, so that subscribers near the
// tip share them. A subscriber further behind reads blocks of segments, as on the real server.
const hotEvents = 8192

// readMax is the most events of one read from memory: at 700 bytes of frame about a third of a MB.
const readMax = 512

var errStopped = errors.New("sim: server stopped")

// eventLog holds the server's events by seq, without gaps: old ones in sealed segments, new ones in memory.
type eventLog struct {
	mu     sync.RWMutex
	segs   []*sealed
	sealed uint64   // last seq in segs
	hot    []*entry // seqs first, first+1, …, tip; those after sealed aren't on disk
	first  uint64
	tip    uint64
	wake   chan struct{} // closed at each append
	closed bool
}

func newEventLog() *eventLog {
	return &eventLog{first: 1, wake: make(chan struct{})}
}

// append appends events, whose seqs follow the tip.
func (l *eventLog) append(entries []*entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hot = append(l.hot, entries...)
	l.tip += uint64(len(entries))
	l.signal()
}

func (l *eventLog) signal() {
	close(l.wake)
	l.wake = make(chan struct{})
}

// close ends all reads.
func (l *eventLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	l.signal()
	for _, s := range l.segs {
		_ = s.reader.Close() // opened for reading only
	}
}

func (l *eventLog) bounds() (sealed, tip uint64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.sealed, l.tip
}

func (l *eventLog) segments() []*sealed {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.segs // append-only: a reader's part stays unchanged
}

// addSegment adds a segment that continues the archive. Its events may be in memory or not.
func (l *eventLog) addSegment(s *sealed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segs = append(l.segs[:len(l.segs):len(l.segs)], s)
	l.sealed = s.header.MaxSeq
	if l.tip < l.sealed { // built before the start, never in memory
		l.tip = l.sealed
		l.first = l.tip + 1
	}
	keep := uint64(1)
	if l.tip >= hotEvents {
		keep = min(l.sealed, l.tip-hotEvents) + 1
	}
	if keep > l.first {
		// A new array, so that the old one is freed when no reader has a part of it.
		l.hot = append([]*entry(nil), l.hot[keep-l.first:]...)
		l.first = keep
	}
}

// unsealed returns the next k events that are in no segment yet, or fewer.
func (l *eventLog) unsealed(k int) []*entry {
	l.mu.RLock()
	defer l.mu.RUnlock()
	from := l.sealed + 1 - l.first
	to := min(from+uint64(k), uint64(len(l.hot)))
	return l.hot[from:to]
}

// lose drops up to k of the newest events that aren't sealed and returns them.
func (l *eventLog) lose(k int) []*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	k = min(max(k, 0), int(l.tip-l.sealed))
	cut := len(l.hot) - k
	lost := l.hot[cut:]
	l.hot = append([]*entry(nil), l.hot[:cut]...) // readers keep the old array
	l.tip -= uint64(k)
	return lost
}

// read returns events from a seq on, at least one. At or past the tip it waits.
func (l *eventLog) read(ctx context.Context, from uint64) ([]*entry, error) {
	from = max(from, 1)
	for {
		l.mu.RLock()
		wake := l.wake
		closed := l.closed
		var out []*entry
		var seg *sealed
		switch {
		case closed:
		case from > l.tip:
		case from >= l.first:
			i := from - l.first
			out = l.hot[i:min(i+readMax, uint64(len(l.hot)))]
		default:
			i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].header.MaxSeq >= from })
			seg = l.segs[i]
		}
		l.mu.RUnlock()
		switch {
		case closed:
			return nil, errStopped
		case seg != nil:
			return seg.read(from)
		case len(out) > 0:
			return out, nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// seqAt returns the first seq whose time is us or later; past the tip if there is none.
func (l *eventLog) seqAt(us int64) (uint64, error) {
	l.mu.RLock()
	segs := l.segs
	hot := l.hot
	first := l.first
	tip := l.tip
	closed := l.closed
	l.mu.RUnlock()
	if closed {
		return 0, errStopped
	}
	if len(hot) > 0 && hot[0].TimeUS < us || len(segs) == 0 || first == 1 {
		return first + uint64(sort.Search(len(hot), func(i int) bool { return hot[i].TimeUS >= us })), nil
	}
	i := sort.Search(len(segs), func(i int) bool { return segs[i].header.MaxWitnessedAt >= us })
	if i == len(segs) {
		return min(segs[i-1].header.MaxSeq, tip) + 1, nil
	}
	s := segs[i]
	b := sort.Search(len(s.blocks), func(b int) bool { return s.blocks[b].MaxWitnessedAt >= us })
	entries, err := s.read(s.blocks[b].MinSeq)
	if err != nil {
		return 0, err
	}
	return entries[sort.Search(len(entries)-1, func(j int) bool { return entries[j].TimeUS >= us })].Seq, nil
}
