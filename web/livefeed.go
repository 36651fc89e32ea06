package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/humanize"
)

// liveFeedPath is the path of the live figures and links as server-sent events: one event a second, of about a
// kilobyte. The whole network has some thousand links a second, too many for eyes and phones. /events has all of them.
const liveFeedPath = "/pulse"

const (
	feedInterval = time.Second
	// rateBars is the number of bars, a minute and a half: on a phone, each is three pixels wide.
	rateBars = 90
	// lookBack is the number of newest log rows that a tick reads, and shown the number of links that it shows: people
	// can read as many in a second.
	lookBack, shown = 32, 4
	// recent is the number of links on the page before the first event.
	recent = 12
	// feedWriteTimeout ends the connection of a page that reads nothing.
	feedWriteTimeout = 10 * time.Second
)

// liveFeed counts events and sends the newest links to open pages.
type liveFeed struct {
	store Store
	lag   func() time.Duration
	now   func() time.Time
	names Names // nil: DIDs are shown

	held   []shownLink // links that wait for names, at most for one tick
	asking atomic.Bool // a look-up of names is in progress
	asks   sync.WaitGroup

	watchers atomic.Int64
	mu       sync.Mutex
	rates    []float64  // events a second, of the last ticks, oldest first
	links    []liveLink // the newest, newest first
	event    []byte     // the last
	ticked   chan struct{}
	ended    bool
}

// liveLink is an added or removed link as a line: an account, a verb and a target.
type liveLink struct {
	Removed     bool   `json:"removed"`
	Color       string `json:"color"`
	AvatarColor int    `json:"avatarColor"` // of the account
	Initials    string `json:"initials"`
	Who         string `json:"who"`
	WhoHref     string `json:"whoHref"`
	Verb        string `json:"verb"`
	What        string `json:"what"`
	WhatHref    string `json:"whatHref"`
	Time        string `json:"time"` // with date, UTC

	subject string
}

// feedEvent is the data of an event. Its values are formatted texts, because the script doesn't format numbers.
type feedEvent struct {
	Links  string     `json:"links"`
	Actors string     `json:"actors"`
	Rate   float64    `json:"rate"` // events a second
	Lag    string     `json:"lag"`  // empty: unknown
	New    []liveLink `json:"new"`  // newest last
}

func newLiveFeed(store Store, lag func() time.Duration, now func() time.Time, names Names) *liveFeed {
	return &liveFeed{store: store, lag: lag, now: now, names: names, ticked: make(chan struct{})}
}

// run ticks until ctx ends.
func (p *liveFeed) run(ctx context.Context) {
	ticker := time.NewTicker(feedInterval)
	defer ticker.Stop()
	defer p.asks.Wait()
	seq := p.store.Seq()
	at := p.now()
	for {
		select {
		case <-ctx.Done():
			p.mu.Lock()
			p.ended = true
			close(p.ticked)
			p.mu.Unlock()
			return
		case <-ticker.C:
			newest := p.store.Seq()
			now := p.now()
			p.tick(ctx, seq, newest, float64(newest-min(seq, newest))/max(now.Sub(at).Seconds(), 0.001))
			seq = newest
			at = now
		}
	}
}

// tick reads the newest of the rows after seq, up to newest.
func (p *liveFeed) tick(ctx context.Context, seq, newest uint64, rate float64) {
	e := feedEvent{Rate: rate, New: []liveLink{}}
	var fresh []shownLink
	if newest > seq {
		// If there are more rows than it can show, it reads the newest. An error shows nothing: the next tick comes
		// soon.
		entries, _, _ := p.store.Log(ctx, max(seq, newest-min(newest, lookBack)), lookBack)
		fresh = newestLinks(entries)
	}
	for _, l := range p.named(ctx, fresh) {
		e.New = append(e.New, p.lineOf(l))
	}
	var event []byte
	if p.watchers.Load() > 0 {
		if st, err := p.store.Stats(ctx); err == nil {
			e.Links = humanize.Number(st.Links)
			e.Actors = humanize.Number(st.Actors)
			if p.lag != nil {
				e.Lag = lagText(p.lag())
			}
			data, err := json.Marshal(e)
			if err != nil {
				panic(err) // numbers and strings always encode
			}
			event = append(append([]byte("data: "), data...), "\n\n"...)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rates = append(p.rates, rate)
	p.rates = p.rates[max(0, len(p.rates)-rateBars):]
	links := make([]liveLink, 0, recent)
	for i := len(e.New) - 1; i >= 0; i-- {
		links = append(links, e.New[i])
	}
	links = append(links, p.links...)
	p.links = links[:min(len(links), recent)]
	p.event = event
	close(p.ticked)
	p.ticked = make(chan struct{})
}

// shownLink is a link with the event that added or removed it.
type shownLink struct {
	db.LogEntry
	db.Link
	removed bool
}

// newestLinks returns the links of the newest entries, oldest first, one for each record, so that a post with twenty
// links is shown once.
func newestLinks(entries []db.LogEntry) []shownLink {
	var links []shownLink
	for _, e := range entries {
		switch {
		case len(e.Added) > 0:
			links = append(links, shownLink{e, e.Added[0], false})
		case len(e.Removed) > 0:
			links = append(links, shownLink{e, e.Removed[0], true})
		}
	}
	return links[max(0, len(links)-shown):]
}

// named returns the links to show. While pages are open, new links wait for one tick, in which the handles of their
// accounts are looked up once for all pages.
func (p *liveFeed) named(ctx context.Context, fresh []shownLink) []shownLink {
	ready := append(p.held, fresh...)
	p.held = nil
	if p.names != nil && p.watchers.Load() > 0 {
		ready = ready[:len(ready)-len(fresh)]
		p.held = fresh
		// A look-up longer than a tick delays the next one; links without handles are shown by their DIDs.
		if len(fresh) > 0 && !p.asking.Swap(true) {
			var dids []string
			for _, l := range fresh {
				dids = append(dids, l.DID)
				if did := accountOfTarget(l.Target); did != "" {
					dids = append(dids, did)
				}
			}
			p.asks.Go(func() {
				defer p.asking.Store(false)
				p.names.Handles(ctx, dids)
			})
		}
	}
	return ready[max(0, len(ready)-shown):]
}

func (p *liveFeed) name(did string) string {
	if p.names != nil {
		if handle := p.names.Known(did); handle != "" {
			return handle
		}
	}
	return shortDID(did)
}

func (p *liveFeed) lineOf(l shownLink) liveLink {
	return liveLink{
		Removed: l.removed, Color: sourceColor(l.Collection, l.Path), AvatarColor: avatarColor(l.DID),
		Initials: initials(p.name(l.DID)),
		Who:      p.name(l.DID), WhoHref: explore(l.DID), Verb: verb(l.Collection, l.Path, l.removed),
		What: whatBy(p.name, l.Target), WhatHref: explore(l.Target), Time: utc(l.TimeUS),
		subject: l.Target,
	}
}

// latest returns the rates of the last ticks and the newest links, for a new page.
func (p *liveFeed) latest() (rates []float64, links []liveLink) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append(rates, p.rates...), append(links, p.links...)
}

// wait returns a channel that the next tick closes, the event of the last tick, and whether there are no more.
func (p *liveFeed) wait() (ticked <-chan struct{}, event []byte, ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ticked, p.event, p.ended
}

// serve sends the event of each tick to a page.
func (p *liveFeed) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	protect(h)
	h.Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet {
		h.Set("Allow", http.MethodGet)
		http.Error(w, "this path accepts only GET", http.StatusMethodNotAllowed)
		return
	}
	p.watchers.Add(1)
	defer p.watchers.Add(-1)
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would buffer the stream
	out := http.NewResponseController(w)
	send := func(b []byte) error {
		if err := out.SetWriteDeadline(time.Now().Add(feedWriteTimeout)); err != nil &&
			!errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		return out.Flush()
	}
	// The delay in milliseconds before a browser reconnects.
	if err := send([]byte("retry: 5000\n\n")); err != nil {
		return
	}
	for {
		ticked, _, ended := p.wait()
		if ended {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-ticked:
		}
		// A page that is too slow for a tick misses only that tick.
		if _, event, _ := p.wait(); event != nil {
			if err := send(event); err != nil {
				return
			}
		}
	}
}
