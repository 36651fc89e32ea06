// Package top finds the targets that are linked to most: those that may have the most links of the last hours, in
// bounded memory. It reads the log, and knows nothing of HTTP.
//
// It counts links by the hour of their time in their lists, and by source. Of each source and hour, it keeps the
// targets with the most links, and a bound: no other target has more. So what it says of a target is never too low, and
// may be too high: links that were removed count too. The index knows the exact number; a Counter says which targets to
// ask for, and how many links a target that it doesn't name may have at most.
package top

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
	"unsafe"

	"weft.dev/weft/db"
	"weft.dev/weft/db/codec"
)

// Log is the log of a db.Store.
type Log interface {
	Seq() uint64
	LogLinks(ctx context.Context, after uint64, limit int) (entries []db.LogEntry, last uint64, err error)
	LogTime(ctx context.Context, after uint64, limit int) (newestUS int64, last uint64, err error)
	LogAge(ctx context.Context, seq uint64) (time.Duration, error)
}

// Config configures a counter. Only Log is required.
type Config struct {
	Log    Log
	File   string           // file that keeps the counts over a restart; empty: no file
	Failed func(error)      // called when reading the log or writing the file fails; both are retried; nil: ignore
	Now    func() time.Time // nil: time.Now
}

const (
	// MaxSpan is the longest span of an answer.
	MaxSpan = 24 * time.Hour
	// MaxTarget is the length in bytes of the longest target that is counted. An at-uri has about 70.
	MaxTarget = 256

	// hoursKept is the number of hours in memory: those of MaxSpan, which begins within an hour, and the next one,
	// because a link may be five minutes ahead.
	hoursKept = int64(MaxSpan/time.Hour) + 1
	// every is the interval between reads of the log, and so the delay of an answer.
	every = time.Second
	// rowsAtOnce is the number of rows in one read of the log: some hundred kB, as for the live streams.
	rowsAtOnce = 1000
	// timesAtOnce is the number of rows whose times are read at once: some milliseconds.
	timesAtOnce = 10_000
	// perTarget is the memory of a target without its text, in bytes: a string and a number in a half-full map.
	perTarget = 48
	// pastTime limits the time to read the past, which uses at most half of a core.
	pastTime = 15 * time.Minute
)

// Counter counts the links of the last hours.
type Counter struct {
	cfg Config

	mu      sync.Mutex
	hours   map[int64]*hour // by hour since 1970
	last    uint64          // rows up to this one are read
	newest  db.LogEntry     // newest of them that isn't bookkeeping, without its links
	recent  uint64          // some rows between the last and this one are not old
	past    uint64          // rows up to this one are unread past
	since   time.Time       // the unread past was committed before this time; zero: no unread past, or nothing read
	until   time.Time       // time when all rows of the log were read
	began   time.Time       // start of reading the past
	done    bool            // the past is read as far as necessary
	running bool
}

// New returns a counter.
func New(c Config) *Counter {
	if c.Failed == nil {
		c.Failed = func(error) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Counter{cfg: c, hours: map[int64]*hour{}}
}

// Run reads the log until ctx ends: new rows, and between them rows of the past, newest first, as far as the log or
// MaxSpan goes. It saves the file every saveEvery and at the end.
func (c *Counter) Run(ctx context.Context) {
	saved := c.cfg.Now()
	for ctx.Err() == nil {
		start := c.cfg.Now()
		if start.Sub(saved) >= saveEvery {
			saved = start
			c.saveOrSay()
		}
		more, err := c.Read(ctx)
		if err != nil && ctx.Err() == nil {
			c.cfg.Failed(err)
		}
		pause := every
		if err == nil && more {
			pause = min(every, max(c.cfg.Now().Sub(start), time.Millisecond))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	c.saveOrSay()
}

func (c *Counter) saveOrSay() {
	err := c.save()
	if err != nil {
		c.cfg.Failed(err)
	}
}

// Read reads some new rows or, if there are none, some past rows. It reports whether more can be read now. It isn't
// safe for concurrent use.
func (c *Counter) Read(ctx context.Context) (more bool, err error) {
	if !c.running {
		loaded, err := c.load(ctx)
		if err != nil {
			return false, err
		}
		if !loaded {
			c.begin()
		}
	}
	behind, err := c.readNew(ctx)
	if err != nil || behind || c.done {
		return behind, err
	}
	err = c.readPast(ctx)
	return !c.done, err
}

// begin begins at the newest row without counts. All rows up to it are past.
func (c *Counter) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	c.hours = map[int64]*hour{}
	c.last = c.cfg.Log.Seq()
	c.recent = 0
	c.newest = db.LogEntry{}
	c.past = c.last
	c.since = now
	c.until = now
	c.began = now
	c.done = c.past == 0
	if c.done {
		c.since = time.Time{}
	}
	c.running = true
}

// readNew reads new rows and reports whether there may be more.
func (c *Counter) readNew(ctx context.Context) (behind bool, err error) {
	at := c.cfg.Now()
	if newest := c.cfg.Log.Seq(); newest < c.last { // a follower's index was restored to an older state
		c.begin()
		return false, nil
	}
	entries, last, err := c.readRows(ctx)
	if errors.Is(err, db.ErrLogPruned) { // pruning removed unread rows
		c.begin()
		return false, nil
	}
	if err != nil {
		return false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count(entries, at)
	c.last = last
	if last < c.cfg.Log.Seq() {
		return true, nil
	}
	c.until = at
	return false, nil
}

// readRows reads rows after the last one. It passes over rows that are too old to count, without reading them: a
// backfill has millions of them, which took a fifth of its CPU time.
func (c *Counter) readRows(ctx context.Context) (entries []db.LogEntry, last uint64, err error) {
	if c.cfg.Log.Seq()-c.last > rowsAtOnce && c.last >= c.recent {
		last, old, err := c.areOld(ctx, c.last, timesAtOnce)
		if err != nil || old {
			return nil, last, err
		}
		c.recent = last // they are read, and their times are not asked for again
	}
	return c.cfg.Log.LogLinks(ctx, c.last, rowsAtOnce)
}

// areOld reports whether the links of all rows after a row, up to the row last, are of hours that are no longer kept.
// The time of a link is at most codec.MaxSkewUS after that of its row.
func (c *Counter) areOld(ctx context.Context, after uint64, limit int) (last uint64, old bool, err error) {
	newestUS, last, err := c.cfg.Log.LogTime(ctx, after, limit)
	if err != nil {
		return after, false, err
	}
	return last, hourOf(newestUS+codec.MaxSkewUS) < c.oldest(c.cfg.Now()), nil
}

// readPast reads some rows of the past. It sets done when no relevant rows or no time are left. It counts each portion
// at once, because a thousand rows of large records take a gigabyte. After an error it may count rows twice, which
// raises bounds but makes no answer wrong. Links of pruned rows that are dated ahead of their commit by more than
// codec.MaxSkewUS stay unknown: lists are ordered by time, but no tree is, so only a walk over all links would find
// them.
func (c *Counter) readPast(ctx context.Context) error {
	from := c.past - min(c.past, rowsAtOnce)
	_, old, err := c.areOld(ctx, from, int(c.past-from))
	if err != nil && !errors.Is(err, db.ErrLogPruned) {
		return err
	}
	for at := from; at < c.past && !old; {
		entries, last, err := c.cfg.Log.LogLinks(ctx, at, int(c.past-at))
		if err != nil && !errors.Is(err, db.ErrLogPruned) {
			return err
		}
		if err != nil || last == at { // the log goes back no further, or a restore shortened it
			c.mu.Lock()
			defer c.mu.Unlock()
			c.done = true
			return nil
		}
		c.countPast(entries)
		at = last
	}
	age, err := c.cfg.Log.LogAge(ctx, from)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	c.past = from
	c.since = now.Add(-age)
	if from == 0 {
		c.since = time.Time{}
	}
	c.done = from == 0 || age >= time.Duration(hoursKept)*time.Hour || now.Sub(c.began) > pastTime
	return nil
}

// countPast counts rows of the past.
func (c *Counter) countPast(entries []db.LogEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count(entries, c.cfg.Now())
}

// count counts the links that rows added, and drops hours beyond MaxSpan.
func (c *Counter) count(entries []db.LogEntry, now time.Time) {
	newest := hourOf(now.UnixMicro()) + 1
	oldest := c.oldest(now)
	for h := range c.hours {
		if h < oldest {
			delete(c.hours, h)
		}
	}
	if n := len(entries); n > 0 && entries[n-1].Seq > c.newest.Seq {
		c.newest = entries[n-1]
		c.newest.Added = nil
		c.newest.Removed = nil
	}
	for i := range entries {
		e := &entries[i]
		at := hourOf(e.LinkTimeUS())
		if at < oldest {
			continue
		}
		if at > newest {
			at = c.ahead(at, newest)
		}
		for _, l := range e.Added {
			if len(l.Target) <= MaxTarget {
				c.hour(at).add(db.Source{Collection: e.Collection, Path: l.Path}, l.Target)
			}
		}
	}
}

// oldest returns the oldest hour that is kept.
func (c *Counter) oldest(now time.Time) int64 { return hourOf(now.UnixMicro()) - hoursKept }

// ahead returns the hour for links beyond the newest hour, which an upstream with a fast clock sends. One hour takes
// all of them, so that memory is bounded. It is the latest of their hours, so that no link is dropped while a span
// includes it.
func (c *Counter) ahead(at, newest int64) int64 {
	for h, links := range c.hours {
		switch {
		case h > newest && h >= at:
			return h
		case h > newest:
			delete(c.hours, h)
			c.hours[at] = links
			return at
		}
	}
	return at
}

func (c *Counter) hour(at int64) *hour {
	h := c.hours[at]
	if h == nil {
		h = &hour{sources: map[db.Source]*targets{}}
		c.hours[at] = h
	}
	return h
}

// hourOf returns the number of the hour of a time in microseconds since 1970.
func hourOf(us int64) int64 { return us / time.Hour.Microseconds() }

// Candidate is a target with the upper bound of its links.
type Candidate struct {
	Target string
	Most   int64
}

// Span describes the counts of a span of time that ends now.
type Span struct {
	Since   time.Time   // start of the span: as requested, or later if the log is shorter
	Until   time.Time   // time of the last read of the log
	Sources []db.Source // sources with links, those with the most first
}

// Span returns the coverage of the counts since a time, at most MaxSpan ago.
func (c *Counter) Span(since time.Time) Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.cfg.Now()
	s := Span{Since: since, Until: c.until}
	if !c.running {
		return Span{Since: now, Until: now}
	}
	// The links of a row that was committed before c.since are dated at most five minutes later.
	if !c.since.IsZero() {
		if complete := c.since.Add(codec.MaxSkewUS * time.Microsecond); complete.After(s.Since) {
			s.Since = complete
		}
	}
	if s.Since.After(now) {
		s.Since = now
	}
	links := map[db.Source]int64{}
	for _, h := range c.from(s.Since) {
		for source, t := range h.sources {
			links[source] += int64(t.links)
		}
	}
	for source := range links {
		s.Sources = append(s.Sources, source)
	}
	slices.SortFunc(s.Sources, func(a, b db.Source) int {
		return cmp.Or(cmp.Compare(links[b], links[a]), cmp.Compare(a.Collection, b.Collection), cmp.Compare(a.Path, b.Path))
	})
	return s
}

// Status is the memory and the coverage of a counter.
type Status struct {
	Targets int           // targets with counts, by hour and source
	Memory  int64         // estimate in bytes
	Span    time.Duration // length of the counted span: at most MaxSpan
	Age     time.Duration // time since all rows of the log were counted
}

// Status returns the status of the counter; the zero Status before it runs.
func (c *Counter) Status() Status {
	now := c.cfg.Now()
	span := c.Span(now.Add(-MaxSpan))
	st := Status{Span: now.Sub(span.Since), Age: now.Sub(span.Until)}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.hours {
		if h.sketch != nil {
			st.Memory += int64(unsafe.Sizeof(*h.sketch))
		}
		for _, t := range h.sources {
			st.Targets += len(t.counts)
			for target := range t.counts {
				st.Memory += int64(len(target)) + perTarget
			}
		}
	}
	return st
}

// Candidates returns the targets that may have the most links from a source since a time, most first, and the upper
// bound of any other target. The time is Span.Since.
func (c *Counter) Candidates(source db.Source, since time.Time) (candidates []Candidate, others int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	hours := c.from(since)
	// more is the bound of a target above that of unknown targets: in an hour without the target, both bounds are
	// equal.
	more := map[string]int64{}
	for _, h := range hours {
		t := h.sources[source]
		if t == nil {
			others += int64(h.others)
			continue
		}
		others += int64(t.others)
		for target, n := range t.counts {
			more[target] += int64(n) - int64(t.others)
		}
	}
	candidates = make([]Candidate, 0, len(more))
	for target, n := range more {
		candidates = append(candidates, Candidate{target, others + n})
	}
	slices.SortFunc(candidates, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(b.Most, a.Most), cmp.Compare(a.Target, b.Target))
	})
	return candidates, others
}

// from returns the hours of a span that begins at a time.
func (c *Counter) from(since time.Time) (hours []*hour) {
	first := hourOf(since.UnixMicro())
	for at, h := range c.hours {
		if at >= first {
			hours = append(hours, h)
		}
	}
	return hours
}
