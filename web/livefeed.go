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

// liveFeedPath is where the live figures and links are, as server-sent events: one event a second, of about a kilobyte. On
// the whole network some thousand links come in a second, which is neither for eyes nor for phones; what wants them all
// takes /events.
const liveFeedPath = "/pulse"

const (
	feedInterval = time.Second
	// A minute and a half of bars: on a phone, each is three pixels wide.
	rateBars = 90
	// The newest rows of the log that a tick reads, and how many of their links it shows: what can be read in a second.
	lookBack, shown = 32, 4
	// How long the links are that the page itself begins with.
	recent = 12
	// A watcher that takes nothing for so long has left.
	feedWriteTimeout = 10 * time.Second
)

// liveFeed counts events and sends the newest links to open pages.
type liveFeed struct {
	store Store
	lag   func() time.Duration
	now   func() time.Time
	names Names // nil: DIDs are shown

	held   []shownLink // until their names are known, or a tick has passed
	asking atomic.Bool // for names
	asks   sync.WaitGroup

	watchers atomic.Int64
	mu       sync.Mutex
	rates    []float64  // events a second, of the last ticks, oldest first
	links    []liveLink // the newest, newest first
	event    []byte     // the last
	ticked   chan struct{}
	ended    bool
}

// liveLink is a link that has come or gone, as a line: who did what to what.
type liveLink struct {
	Removed     bool   `json:"removed"`
	Color       string `json:"thread"` // its colour
	AvatarColor int    `json:"dye"`    // that of the account
	Initials    string `json:"initials"`
	Who         string `json:"who"`
	WhoHref     string `json:"whoHref"`
	Verb        string `json:"verb"`
	What        string `json:"what"`
	WhatHref    string `json:"whatHref"`
	Time        string `json:"time"` // with its date, UTC

	subject string
}

// feedEvent is the data of an event: texts, for the script that shows them knows nothing of numbers.
type feedEvent struct {
	Links  string     `json:"links"`
	Actors string     `json:"actors"`
	Rate   float64    `json:"rate"` // events a second
	Lag    string     `json:"lag"`  // empty: not known
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

// tick takes one look: the rows behind seq up to newest came since the last.
func (p *liveFeed) tick(ctx context.Context, seq, newest uint64, rate float64) {
	e := feedEvent{Rate: rate, New: []liveLink{}}
	var fresh []shownLink
	if newest > seq {
		// Of more rows than can be shown, the newest. One that can't be read shows nothing: the next tick comes soon.
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
				panic(err) // of numbers and strings
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

// shownLink is a link and the event that brought or took it.
type shownLink struct {
	db.LogEntry
	db.Link
	removed bool
}

// newestLinks is what the newest entries did, oldest first: of each record its first link, for the ticker shows what
// goes on, and a post with twenty links goes on once.
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

// named gives the links to be shown. While somebody watches they wait for a tick, in which the handles of their
// accounts are asked for, once for all who watch.
func (p *liveFeed) named(ctx context.Context, fresh []shownLink) []shownLink {
	ready := append(p.held, fresh...)
	p.held = nil
	if p.names != nil && p.watchers.Load() > 0 {
		ready = ready[:len(ready)-len(fresh)]
		p.held = fresh
		// An answer that takes longer than a tick keeps the next from being asked for: those are shown by their DIDs.
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

// latest is what a page begins with: the rates of the last ticks and the newest links.
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
	h.Set("X-Accel-Buffering", "no") // what nginx needs to be told
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
	// A browser whose connection breaks comes back after so many milliseconds.
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
		// A page that is too slow for a tick misses that one only.
		if _, event, _ := p.wait(); event != nil {
			if err := send(event); err != nil {
				return
			}
		}
	}
}
