// Package ingest follows an upstream: it reads events, finds the links in their records and hands them to the store in
// batches. Everything that comes from upstream is untrusted: what can't be read is counted and left out, and nothing in
// it stops the stream.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/extract"
)

// Store is what ingest writes to.
type Store interface {
	// Apply commits a batch and its cursor.
	Apply(db.Batch) (db.Applied, error)
	// Cursor is the sequence number of a host up to which all is committed, 0 when there is none.
	Cursor(host string) uint64
	// ResetCursor moves a host's cursor back after the host has lost what was beyond.
	ResetCursor(host string, seq uint64) error
	// AddGap writes down what was missed.
	AddGap(db.Gap) error
}

// Config configures an Ingest. Only Host and Store have to be set.
type Config struct {
	Host        string                // a Jetstream v2 server: a host name or a URL
	Store       Store                 //
	From        From                  // where to begin when the store has no cursor of the host; zero: now
	Key         string                // for archives that want one; empty: none
	BatchEvents int                   // events that make a commit; 0: 1,000
	BatchAge    time.Duration         // how long an event waits for others; 0: 200 ms
	Silence     time.Duration         // without an event for so long, the connection is given up; 0: 30 s
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
	// The full network sends hundreds of events a second; a server that is silent for this long is broken.
	defaultSilence = 30 * time.Second
	// A server may use the sequence numbers of its last block again after a crash; a block has 4,096 events, twice that is
	// a margin. Folding an event twice changes nothing.
	defaultRewind = 8192
)

// Ingest follows one upstream.
type Ingest struct {
	cfg     Config
	queue   *queue
	extract *extract.Extractor
	metrics *metrics
	log     *bounded
	state   atomic.Pointer[State]
	seen    atomic.Uint64 // sequence number of the newest event received
	seenUS  atomic.Int64  // its time
	seenAt  atomic.Int64  // when it was received, microseconds since 1970
	follow  follow
}

// State is what ingest is doing.
type State struct {
	Connected bool   // events come in
	Detail    string // since when, or why not
}

// New makes an Ingest; Run starts it.
func New(cfg Config) *Ingest {
	cfg.Host = baseURL(cfg.Host)
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
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	in := &Ingest{
		cfg:     cfg,
		queue:   newQueue(cfg.Host, cfg.BatchEvents, cfg.BatchAge),
		extract: extract.New(extract.Limits{}),
		log:     newBounded(cfg.Logger, cfg.Now),
	}
	in.queue.cur.bodies, in.queue.spare.bodies = cfg.Bodies, cfg.Bodies
	in.metrics = newMetrics(cfg.Metrics, in)
	in.state.Store(&State{Detail: "not started"})
	return in
}

// Run follows the upstream until ctx ends; then it commits what it has received and returns nil. Any error is the
// store's: nothing from upstream ends it.
func (in *Ingest) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return in.commit(ctx) })
	g.Go(func() error { return in.followUpstream(ctx) })
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("ingest: %w", err)
	}
	return nil
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
		start := in.cfg.Now()
		applied, err := in.cfg.Store.Apply(b.Batch)
		if err != nil {
			return err
		}
		if applied.BadBodies > 0 {
			in.log.warn("bad_body", "content left out that is not what its CID says, or is too large", "count", applied.BadBodies)
		}
		in.metrics.committed(applied, b, in.cfg.Now().Sub(start))
		in.queue.done(b)
	}
}

// Ready is nil while events come in, and otherwise says why not.
func (in *Ingest) Ready() error {
	if st := in.state.Load(); !st.Connected {
		return fmt.Errorf("not following %s: %s", in.cfg.Host, st.Detail)
	}
	// Twice the silence after which the connection is given up: one reconnect is no reason to be taken out of service.
	if idle := in.cfg.Now().Sub(time.UnixMicro(in.seenAt.Load())); idle > 2*in.cfg.Silence {
		return fmt.Errorf("no event from %s for %s", in.cfg.Host, idle.Round(time.Second))
	}
	return nil
}

// Host is the upstream as the store names it.
func (in *Ingest) Host() string { return in.cfg.Host }

// Seen is the sequence number of the newest event received, committed or not.
func (in *Ingest) Seen() uint64 { return in.seen.Load() }

// Lag is how far the newest event received lies behind the clock; 0 before the first.
func (in *Ingest) Lag() time.Duration {
	us := in.seenUS.Load()
	if us == 0 {
		return 0
	}
	return max(in.cfg.Now().Sub(time.UnixMicro(us)), 0)
}
