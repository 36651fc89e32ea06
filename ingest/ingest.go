// Package ingest follows an upstream: it reads events, finds the links in their records and hands them to the store in
// batches. Everything that comes from upstream is untrusted: what can't be read is counted and left out, and nothing in
// it stops the stream.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/gapfill"
	"weft.dev/weft/ingest/upstream"
)

// Store is what ingest writes to.
type Store interface {
	gapfill.Store
	// Apply commits a batch and its cursor.
	Apply(db.Batch) (db.Applied, error)
	// CursorTime is the time of the event there, microseconds since 1970; 0: not known.
	CursorTime(host string) int64
	// LastFollowed is the host that was followed last; empty: none was, the index is new.
	LastFollowed() string
	// UpstreamKind is what a host spoke when it was followed last; empty: it never was.
	UpstreamKind(host string) string
	// Followed is until when a host was followed.
	Followed(host string) db.Followed
	// SetFollowed notes it, and that the host is the one that is followed.
	SetFollowed(host, kind string, until db.Followed) error
	// Resyncing says that a resync that the host has begun isn't complete.
	Resyncing(host string) bool
	// ResetCursor moves a host's cursor after the host has lost what was beyond or counts anew; 0 forgets where we were.
	ResetCursor(host string, seq uint64) error
	// AddGap writes down what was missed.
	AddGap(db.Gap) error
}

// Config configures an Ingest. Only Hosts and Store have to be set.
type Config struct {
	Hosts       []string              // Jetstream servers as ParseAddress reads them, the preferred one first
	Store       Store                 //
	From        From                  // where an index begins that has nothing yet; zero: now
	Slice       *Slice                // the part of the network to keep; nil: all of it
	Key         string                // for archives that want one; empty: none
	BatchEvents int                   // events that make a commit; 0: 1,000
	BatchAge    time.Duration         // how long an event waits for others; 0: 200 ms
	Silence     time.Duration         // without an event or an answer to a ping for so long, the connection is given up; 0: 30 s
	Home        time.Duration         // how long a preferred host must be well before it is gone back to, about; 0: 2 min
	Fill        time.Duration         // how often open gaps are looked at; 0: 1 min
	FillRecords int                   // records of a gap that are filled at once, in 45 bytes of memory each; 0: 3,000,000
	Rewind      uint64                // events to go back on a resume; 0: 8,192
	Bodies      bool                  // the store keeps the content of records
	Logger      *slog.Logger          // nil: none
	Metrics     prometheus.Registerer // nil: none are registered
	Now         func() time.Time      // nil: time.Now
}

const (
	// At a thousand events a commit's fixed cost, about six pages of WAL, is some 25 bytes per event.
	defaultBatchEvents = 1000
	// With the client's own 20 ms, an event is visible within a quarter of a second.
	defaultBatchAge = 200 * time.Millisecond
	// A server answers a ping within a second; one that is silent for this long is gone.
	defaultSilence = 30 * time.Second
	// A server may use the sequence numbers of its last block again after a crash; a block has 4,096 events, twice that is
	// a margin. Folding an event twice changes nothing.
	defaultRewind = 8192
	// A host that comes back and goes again costs the overlap each time.
	defaultHome = 2 * time.Minute
)

// Ingest follows one upstream at a time.
type Ingest struct {
	cfg      Config
	queue    *queue
	extract  *extractor // of the live stream
	metrics  *metrics
	log      *bounded
	state    atomic.Pointer[State]
	seenSeq  atomic.Uint64 // position of the newest event received
	seenUS   atomic.Int64  // its time
	received atomic.Uint64 // events in all

	committedUS atomic.Int64 // time of the newest event committed; 0: none was

	gaps     *gapfill.Filler
	liveness liveness
	progress progress
	commitMu sync.Mutex // held while a batch is committed, or a gap is filled
	hostsMu  sync.Mutex
	hosts    []*host
}

// State is what ingest is doing.
type State struct {
	Connected bool   // events come in
	Host      string // that is followed, or was
	Kind      string // v2, v1, or empty while that isn't known
	Detail    string // since when, or why not
}

// New makes an Ingest; Run starts it.
func New(cfg Config) *Ingest {
	if cfg.BatchEvents <= 0 {
		cfg.BatchEvents = defaultBatchEvents
	}
	if cfg.BatchAge <= 0 {
		cfg.BatchAge = defaultBatchAge
	}
	if cfg.Silence <= 0 {
		cfg.Silence = defaultSilence
	}
	if cfg.Rewind == 0 {
		cfg.Rewind = defaultRewind
	}
	if cfg.Home <= 0 {
		cfg.Home = defaultHome
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	in := &Ingest{
		cfg:     cfg,
		queue:   newQueue(cfg.BatchEvents, cfg.BatchAge),
		extract: newExtractor(),
		log:     newBounded(cfg.Logger, cfg.Now),
	}
	for _, name := range cfg.Hosts {
		u, err := upstream.ParseAddress(name)
		if err != nil {
			panic(fmt.Errorf("ingest: %w", err)) // the caller has read it
		}
		in.hosts = append(in.hosts, &host{Endpoint: u.Endpoint, rewind: cfg.Rewind})
	}
	in.queue.bodies = cfg.Bodies
	in.queue.now = cfg.Now
	in.metrics = newMetrics(cfg.Metrics, in)
	in.gaps = newGapFiller(in)
	in.state.Store(&State{Host: in.hosts[0].URL, Detail: "not started"})
	return in
}

// Run follows the upstream until ctx ends; then it commits what it has received and returns nil. Any error is the
// store's: nothing from upstream ends it.
func (in *Ingest) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return in.commit(ctx) })
	g.Go(func() error { return in.followUpstream(ctx) })
	g.Go(func() error { return in.gaps.Run(ctx) })
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("ingest: %w", err)
	}
	return nil
}

// named makes a panic of a goroutine be logged with its name before it ends the process.
func (in *Ingest) named(name string, do func()) func() {
	return func() {
		defer func() {
			if p := recover(); p != nil {
				in.cfg.Logger.Error("panic", "goroutine", name, "panic", p, "stack", string(debug.Stack()))
				panic(p)
			}
		}()
		do()
	}
}

// commit hands batches to the store.
func (in *Ingest) commit(ctx context.Context) error {
	for {
		b := in.queue.take(ctx)
		if b == nil {
			if ctx.Err() != nil {
				return nil
			}
			continue
		}
		start, timeUS := in.cfg.Now(), b.TimeUS
		in.commitMu.Lock()
		applied, err := in.cfg.Store.Apply(b.Batch)
		in.commitMu.Unlock()
		if err != nil {
			return err
		}
		applied.BadBodies += b.bodiless
		if applied.BadBodies > 0 {
			in.log.warn("bad_body", "skipped record content that does not match its CID, is too large, or cannot be converted from JSON", "count", applied.BadBodies)
		}
		in.metrics.committed(applied, b, in.cfg.Now().Sub(start))
		in.committedUS.Store(timeUS)
		in.queue.done(b)
	}
}

// Ready is nil while the upstream is followed and its events are committed, and otherwise says why not.
func (in *Ingest) Ready() error {
	if st := in.state.Load(); !st.Connected {
		return fmt.Errorf("not following %s: %s", st.Host, st.Detail)
	}
	p, now := &in.liveness, in.cfg.Now()
	// Twice the silence after which the connection is given up: one reconnect is no reason to be taken out of service.
	if idle := p.idle(now); idle > 2*in.cfg.Silence {
		return fmt.Errorf("no message from %s for %s", in.Host(), idle.Round(time.Second))
	}
	if quiet := p.quiet(now); quiet > 2*in.cfg.Silence && p.lively.Load() && !p.filtered.Load() {
		return fmt.Errorf("no event from %s for %s, after a steady stream of events", in.Host(), quiet.Round(time.Second))
	}
	if d := in.stuck(); d > 0 {
		return errors.New(stuckText(d))
	}
	return nil
}

// Host is the upstream that is followed, or was, as the store names it.
func (in *Ingest) Host() string { return in.state.Load().Host }

// Received is how many events came since the start.
func (in *Ingest) Received() uint64 { return in.received.Load() }

// Seen is the position of the newest event received, committed or not.
func (in *Ingest) Seen() uint64 { return in.seenSeq.Load() }

// Lag is how far behind the upstream the index is: by the newest event committed or, while a quiet upstream is followed and
// nothing waits, by when it had no other. 0 before the first.
func (in *Ingest) Lag() time.Duration {
	us := max(in.seenUS.Load(), in.liveness.wholeAt.Load())
	if us == 0 {
		return 0
	}
	us = in.shownUS(us)
	return max(in.cfg.Now().Sub(time.UnixMicro(us)), 0)
}
