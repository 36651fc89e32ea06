package stream

import (
	"context"
	"errors"
	"sort"
	"sync/atomic"
	"time"

	"weft.dev/weft/db"
)

// Options are the options of a subscription.
type Options struct {
	// Cursor is a log row, or from 10^15 up a time in microseconds since 1970; the subscription begins after it. Nil:
	// with the next event.
	Cursor *uint64
	Hold   bool     // hold links for Config.Hold and drop those that are removed meanwhile
	Want   *Matcher // nil: all links
}

// timesFrom is the least cursor that is a time: 2001, in microseconds. A thousand events a second take thirty thousand
// years to get there.
const timesFrom = 1_000_000_000_000_000

// Subscription is one subscriber's position in the log. Want is safe for concurrent use; the other methods are not.
type Subscription struct {
	tail    *Tail
	match   atomic.Pointer[Matcher]
	hold    bool
	at      uint64 // rows up to this one are delivered
	replay  uint64 // rows up to this one precede the subscription
	current bool   // the subscription has reached the tail
	heldBy  uint64 // rows after this one were held; only if current
}

// Subscribe starts a subscription. The caller must close it. ErrFuture, ErrOutdated and ErrClosed are for the client.
func (t *Tail) Subscribe(ctx context.Context, o Options) (*Subscription, error) {
	at, err := t.begin(ctx, o.Cursor)
	if err != nil {
		return nil, err
	}
	if err := t.enter(ctx); err != nil {
		return nil, err
	}
	s := &Subscription{tail: t, hold: o.Hold, at: at, replay: at}
	if o.Cursor != nil {
		s.replay = t.cfg.Log.Seq()
	}
	if o.Want == nil {
		o.Want = (&Filter{}).Match()
	}
	s.Want(o.Want)
	return s, nil
}

// begin returns the log row of a cursor.
func (t *Tail) begin(ctx context.Context, cursor *uint64) (uint64, error) {
	seq := t.cfg.Log.Seq()
	if cursor == nil {
		return seq, nil
	}
	at := *cursor
	if at >= timesFrom {
		if at > uint64(t.cfg.Now().UnixMicro()) {
			return 0, ErrFuture
		}
		found, err := t.cfg.Log.SeqAt(ctx, int64(at))
		if errors.Is(err, db.ErrLogPruned) {
			return 0, ErrOutdated
		}
		return found, err
	}
	if at > seq {
		return 0, ErrFuture
	}
	if _, _, err := t.cfg.Log.Log(ctx, at, 1); errors.Is(err, db.ErrLogPruned) {
		return 0, ErrOutdated
	} else if err != nil {
		return 0, err
	}
	return at, nil
}

// Want replaces the filter.
func (s *Subscription) Want(m *Matcher) { s.match.Store(m) }

// Close ends the subscription.
func (s *Subscription) Close() { s.tail.leave() }

// Replay reports whether a row was committed before the subscription.
func (s *Subscription) Replay(seq uint64) bool { return seq <= s.replay }

// Cursor returns the cursor that resumes here.
func (s *Subscription) Cursor() uint64 { return s.at }

// batch is the most events that Next returns.
const batch = 512

// Next waits for the next events and returns them in order, wanted or not: Wanted filters. It returns none after wait.
// ErrTooSlow and ErrOutdated: the log no longer has the subscriber's next event. ErrClosed: the tail has ended.
func (s *Subscription) Next(ctx context.Context, wait time.Duration) ([]*Event, error) {
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		view := s.tail.view()
		var events []*Event
		var err error
		if s.at < view.first {
			events, err = s.nextFromLog(ctx, view.first)
			if err == nil && events == nil {
				continue // the rows had no events
			}
		} else {
			events, err = s.nextFromTail(ctx, view, timeout.C)
			if errors.Is(err, errChanged) {
				continue
			}
		}
		return events, err
	}
}

// nextFromLog returns events from the log on disk, before the start of the tail. A subscriber that has been in the tail
// is too slow, unless it holds links: under load the hold is longer than the tail keeps events.
func (s *Subscription) nextFromLog(ctx context.Context, first uint64) ([]*Event, error) {
	if s.current && !s.hold {
		return nil, ErrTooSlow
	}
	events, err := s.readLog(ctx, first)
	if err != nil || len(events) == 0 {
		return nil, err
	}
	return events, nil
}

// errChanged requests another look at the tail.
var errChanged = errors.New("stream: the tail has changed")

// nextFromTail returns the due events after the subscriber's position, none at the timeout, and errChanged if there may
// be due events now.
func (s *Subscription) nextFromTail(ctx context.Context, view tailView, timeout <-chan time.Time) ([]*Event, error) {
	if !s.current {
		s.current = true
		s.heldBy = s.at
	}
	i := sort.Search(len(view.events), func(i int) bool { return view.events[i].Seq > s.at })
	events := view.events[i:min(len(view.events), i+batch)]
	if len(events) == 0 {
		s.at = max(s.at, view.last)
		if view.closed {
			return nil, ErrClosed
		}
		return nil, wait(ctx, view.changed, nil, timeout)
	}
	due := events[:s.due(events, view.now)]
	if len(due) > 0 {
		s.at = due[len(due)-1].Seq
		return due, nil
	}
	if view.closed {
		return nil, ErrClosed
	}
	// Rounded up, so that it wakes the subscriber once for several events.
	hold := time.NewTimer(max(s.tail.cfg.Hold-view.now.Sub(events[0].At), 50*time.Millisecond))
	defer hold.Stop()
	return nil, wait(ctx, nil, hold.C, timeout)
}

// due counts the leading events whose hold has ended. The times of events from before the tail may be in any order.
func (s *Subscription) due(events []*Event, now time.Time) int {
	if !s.hold {
		return len(events)
	}
	n := 0
	for n < len(events) && now.Sub(events[n].At) >= s.tail.cfg.Hold {
		n++
	}
	return n
}

// wait returns errChanged when the tail changes or an event is due, nil at the timeout, and the error of ctx.
func wait(ctx context.Context, changed <-chan struct{}, due, timeout <-chan time.Time) error {
	select {
	case <-changed:
		return errChanged
	case <-due:
		return errChanged
	case <-timeout:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readLog reads the part of the log before the tail.
func (s *Subscription) readLog(ctx context.Context, first uint64) ([]*Event, error) {
	t := s.tail
	select {
	case t.reads <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-t.reads }()
	s.current = false
	entries, last, err := t.cfg.Log.Log(ctx, s.at, int(min(readRows, first-s.at)))
	if errors.Is(err, db.ErrLogPruned) {
		return nil, ErrOutdated
	}
	if err != nil {
		return nil, err
	}
	s.at = last
	events := make([]*Event, len(entries))
	for i, e := range entries {
		events[i] = newEvent(e, time.UnixMicro(e.TimeUS))
	}
	return events, nil
}

// Wanted appends the indexes of the links that the subscriber wants to dst. account reports that an account's change
// is wanted.
func (s *Subscription) Wanted(e *Event, dst []int) (links []int, account bool) {
	m := s.match.Load()
	if !m.Event(e) {
		return dst, false
	}
	if e.Op == db.OpAccount {
		return dst, true
	}
	for i := range e.Links {
		l := &e.Links[i]
		if m.Link(l) && !(s.hold && s.takenBack(l)) {
			dst = append(dst, i)
		}
	}
	return dst, false
}

// WantsAny reports whether the subscriber wants any link of an event's record, unchanged ones too. read returns those
// links.
func (s *Subscription) WantsAny(e *Event, read func() ([]db.Link, error)) (bool, error) {
	m := s.match.Load()
	if !m.Event(e) {
		return false, nil
	}
	links, err := e.Kept(read)
	if err != nil {
		return false, err
	}
	for i := range links {
		if m.Link(&links[i]) {
			return true, nil
		}
	}
	return false, nil
}

// takenBack reports whether a link was added and removed within the hold. Its removal is left out only if its creation
// was.
func (s *Subscription) takenBack(l *Link) bool {
	pair := l.pair.Load()
	return pair != 0 && (!l.Removed || pair > s.heldBy)
}
