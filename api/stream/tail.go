package stream

import (
	"context"
	"errors"
	"sync"
	"time"

	"weft.dev/weft/db"
)

// Log is the log of a db.Store.
type Log interface {
	Seq() uint64
	Commits() <-chan struct{}
	Log(ctx context.Context, after uint64, limit int) (entries []db.LogEntry, last uint64, err error)
	SeqAt(ctx context.Context, us int64) (uint64, error)
}

// Config configures a tail. Only Log is required.
type Config struct {
	Log    Log
	Hold   time.Duration    // how long links that may be taken back are held; 0: 21 s, as Spacedust
	Events int              // most events in memory, which is how far a subscriber may fall behind; 0: 65,536
	Bytes  int              // most bytes of events in memory; 0: 64 MiB
	Reads  int              // concurrent reads of the log for subscribers that are behind; 0: 2
	Failed func(error)      // called when reading the log fails; it is retried after a second; nil: ignore
	Now    func() time.Time // nil: time.Now
}

const (
	// defaultHold is Spacedust's. Most links that are removed soon are removed within seconds.
	defaultHold = 21 * time.Second
	// defaultEvents are 32 MB of about 500 bytes each, a minute of the whole network.
	defaultEvents = 1 << 16
	// defaultBytes bounds the memory: events have 500 bytes on average, but 100 kB and more if a record consists of
	// links.
	defaultBytes = 64 << 20
	// defaultReads leaves queries two of the store's four connections for names.
	defaultReads = 2
	// slack is the time that events stay after the hold, for slightly slow subscribers.
	slack = 10 * time.Second
	// readRows is the number of rows in one read: some hundred kB.
	readRows = 1000
)

// Tail keeps the newest events in memory while there are subscribers. Each subscriber reads at its own pace, so that a
// slow one costs nothing; one that falls behind the oldest event is too slow.
type Tail struct {
	cfg   Config
	reads chan struct{}

	mu       sync.Mutex
	subs     int
	events   []*Event // only appended to and cut at the front, so that a reader may keep a part of it
	bytes    int      // size of events
	running  bool
	starting chan struct{} // closed when the tail has started; nil: it is not starting
	first    uint64        // events has all rows after this one up to last
	last     uint64
	held     map[linkKey]*Event // links added within the hold
	changed  chan struct{}
	wake     chan struct{} // signals the first subscriber
	closed   bool
	gone     sync.WaitGroup
}

// linkKey names a link of a record.
type linkKey struct{ did, rkey, source, subject string }

var (
	// ErrClosed ends all subscriptions when Run ends.
	ErrClosed = errors.New("stream: closed")
	// ErrTooSlow ends the subscription of a subscriber that has fallen too far behind.
	ErrTooSlow = errors.New("stream: too slow")
	// ErrFuture is returned for a cursor ahead of the log.
	ErrFuture = errors.New("stream: the cursor lies in the future")
	// ErrOutdated is returned for a cursor whose next rows are no longer in the log.
	ErrOutdated = errors.New("stream: the log no longer reaches back to the cursor")
)

// New returns a Tail. Run feeds it.
func New(c Config) *Tail {
	if c.Hold <= 0 {
		c.Hold = defaultHold
	}
	if c.Events <= 0 {
		c.Events = defaultEvents
	}
	if c.Bytes <= 0 {
		c.Bytes = defaultBytes
	}
	if c.Reads <= 0 {
		c.Reads = defaultReads
	}
	if c.Failed == nil {
		c.Failed = func(error) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Tail{cfg: c, reads: make(chan struct{}, c.Reads), changed: make(chan struct{}),
		wake: make(chan struct{}, 1), held: map[linkKey]*Event{}}
}

// Run reads the log until ctx ends, then ends all subscriptions: each gets the committed events and then ErrClosed. Run
// returns when all subscriptions are closed.
func (t *Tail) Run(ctx context.Context) {
	t.follow(ctx)
	t.mu.Lock()
	t.closed = true
	close(t.changed)
	t.mu.Unlock()
	t.gone.Wait()
}

// tailView is the state of a tail at one moment.
type tailView struct {
	events      []*Event
	first, last uint64 // events has all rows after first up to last
	changed     <-chan struct{}
	closed      bool
	now         time.Time
}

func (t *Tail) view() tailView {
	t.mu.Lock()
	defer t.mu.Unlock()
	return tailView{t.events, t.first, t.last, t.changed, t.closed, t.cfg.Now()}
}

// retryAfter is the wait after a failed read of the log.
const retryAfter = time.Second

func (t *Tail) follow(ctx context.Context) {
	for {
		commits := t.cfg.Log.Commits()
		again := (<-chan time.Time)(nil)
		// Without ctx: at the end it reads all committed rows, so that every subscriber gets them.
		more, err := t.read(context.WithoutCancel(ctx))
		if err != nil {
			t.cfg.Failed(err)
			commits = nil
			again = time.After(retryAfter)
		}
		if more {
			continue
		}
		select {
		case <-commits:
		case <-again:
		case <-t.wake:
		case <-ctx.Done():
			if _, err := t.read(context.WithoutCancel(ctx)); err != nil {
				t.cfg.Failed(err)
			}
			return
		}
	}
}

// read reads rows of the log, and reports whether there may be more.
func (t *Tail) read(ctx context.Context) (more bool, err error) {
	t.mu.Lock()
	if t.subs == 0 && t.running {
		t.running = false
		t.events = nil
		t.bytes = 0
		clear(t.held)
	}
	running := t.running
	last := t.last
	t.mu.Unlock()
	if !running || last >= t.cfg.Log.Seq() {
		return false, nil
	}
	entries, upTo, err := t.cfg.Log.Log(ctx, last, readRows)
	if err != nil {
		return false, err
	}
	events := make([]*Event, len(entries))
	for i, e := range entries {
		events[i] = newEvent(e, time.Time{})
	}
	t.append(events, upTo)
	return true, nil
}

// append adds the events of the log up to a row.
func (t *Tail) append(events []*Event, upTo uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// Take the time under the lock: all rows that follow a delivered link are then dated after the end of its hold.
	at := t.cfg.Now()
	for _, e := range events {
		e.At = at
		t.bytes += e.Size()
		t.pair(e)
	}
	t.events = append(t.events, events...)
	t.last = upTo
	t.drop(at.Add(-t.cfg.Hold - slack))
	close(t.changed)
	t.changed = make(chan struct{})
}

// drop removes events older than old, and the oldest if there are too many or they take too much memory.
func (t *Tail) drop(old time.Time) {
	drop := 0
	for drop < len(t.events) &&
		(len(t.events)-drop > t.cfg.Events || t.bytes > t.cfg.Bytes || t.events[drop].At.Before(old)) {
		t.bytes -= t.events[drop].Size()
		t.forget(t.events[drop])
		drop++
	}
	if drop > 0 {
		t.first = t.events[drop-1].Seq
		t.events = t.events[drop:]
	}
}

// pair marks the addition and the removal of each link that is removed within the hold.
func (t *Tail) pair(e *Event) {
	for i := range e.Links {
		l := &e.Links[i]
		key := linkKey{e.DID, e.Rkey, l.Source, l.Subject}
		if !l.Removed {
			t.held[key] = e
			continue
		}
		added := t.held[key]
		delete(t.held, key)
		if added == nil || e.At.Sub(added.At) >= t.cfg.Hold {
			continue
		}
		for j := range added.Links {
			if a := &added.Links[j]; !a.Removed && a.Source == l.Source && a.Subject == l.Subject {
				a.pair.Store(e.Seq)
				l.pair.Store(added.Seq)
			}
		}
	}
}

// forget removes the links of a dropped event from held.
func (t *Tail) forget(e *Event) {
	for i := range e.Links {
		l := &e.Links[i]
		key := linkKey{e.DID, e.Rkey, l.Source, l.Subject}
		if t.held[key] == e {
			delete(t.held, key)
		}
	}
}

// enter counts a subscriber. For the first one it starts the tail with the events that are still within the hold, if
// the log has them. It reads the log without the lock, which all subscribers need.
func (t *Tail) enter(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return ErrClosed
	}
	t.subs++
	t.gone.Add(1)
	for !t.running && t.starting != nil {
		started := t.starting
		t.mu.Unlock()
		select {
		case <-started:
		case <-ctx.Done():
		}
		t.mu.Lock()
		if err := ctx.Err(); err != nil {
			t.subs--
			t.gone.Done()
			return err
		}
	}
	if t.running {
		return nil
	}
	started := make(chan struct{})
	t.starting = started
	t.mu.Unlock()
	past, from, seq := t.past(ctx)
	t.mu.Lock()
	t.starting = nil
	close(started)
	t.running = true
	t.first = from
	t.last = seq
	t.events = past
	t.bytes = 0
	for _, e := range past {
		t.bytes += e.Size()
		t.pair(e)
	}
	t.drop(time.Time{})
	select {
	case t.wake <- struct{}{}:
	default:
	}
	return nil
}

// past reads the events that are still within the hold: after row from, up to row seq. If it cannot read them in time
// it returns none: then only older events aren't held.
func (t *Tail) past(ctx context.Context) (past []*Event, from, seq uint64) {
	seq = t.cfg.Log.Seq()
	from, err := t.cfg.Log.SeqAt(ctx, t.cfg.Now().Add(-t.cfg.Hold).UnixMicro())
	if err != nil || seq-min(from, seq) > uint64(t.cfg.Events) {
		return nil, seq, seq
	}
	from = min(from, seq)
	for at := from; at < seq; {
		entries, upTo, err := t.cfg.Log.Log(ctx, at, int(min(readRows, seq-at)))
		if err != nil {
			return nil, seq, seq
		}
		for _, e := range entries {
			past = append(past, newEvent(e, time.UnixMicro(e.TimeUS)))
		}
		at = upTo
	}
	return past, from, seq
}

func (t *Tail) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.subs--
	t.gone.Done()
}

// Subscribers returns the number of subscribers.
func (t *Tail) Subscribers() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.subs
}
