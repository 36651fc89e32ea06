// Package ingest follows an upstream: it reads events, finds the links in their records and gives them to the store in
// batches. All input from upstream is untrusted: unreadable input is counted and ignored, and never stops the stream.
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

	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/humanize"
	"weft.dev/weft/ingest/gapfill"
	"weft.dev/weft/ingest/upstream"
)

// Store is the index that ingest writes to. A host is the URL of an upstream.
type Store interface {
	gapfill.Store
	// Apply commits a batch and its cursor. It commits a batch with many changes in parts.
	Apply(db.Batch) (apply.Counts, error)
	// Commits returns a channel that is closed at the next commit.
	Commits() <-chan struct{}
	// CursorTime returns the time of the event at a host's cursor, in microseconds since 1970; 0: not known.
	CursorTime(host string) int64
	// LastFollowed returns the host of the last session; empty: the index is new.
	LastFollowed() string
	// UpstreamKind returns the protocol of a host in its last session; empty: there was none.
	UpstreamKind(host string) string
	// Followed returns the time up to which a host was followed.
	Followed(host string) db.Followed
	// SetFollowed stores the time up to which a host was followed, and that it is the host of the last session.
	SetFollowed(host, kind string, until db.Followed) error
	// Resyncing reports whether the host has begun a resync that isn't complete.
	Resyncing(host string) bool
	// ResetCursor moves the cursor of a host that has lost later events; 0 forgets it.
	ResetCursor(host string, seq uint64) error
	// AddGap records missing events.
	AddGap(db.Gap) error
}

// Config configures an Ingest. Hosts and Store are required.
type Config struct {
	Hosts       []upstream.Endpoint   // Jetstream servers in order of preference
	Store       Store                 //
	From        From                  // where a new index begins; zero: now
	Slice       *Slice                // the part of the network to index; nil: all of it
	Key         string                // API key of the archives; empty: none
	BatchEvents int                   // events of a commit; 0: DefaultBatchEvents
	BatchAge    time.Duration         // the longest wait of an event for others; 0: 200 ms
	Silence     time.Duration         // without an event or an answer to a ping, before a session ends; 0: 30 s
	Failback    time.Duration         // a preferred host is healthy for about this long before a failback; 0: 2 min
	Fill        time.Duration         // between two checks for open gaps; 0: 1 min
	FillRecords int                   // records of a gap that are filled at a time, 45 bytes each; 0: 3,000,000
	Rewind      uint64                // events to go back when a session resumes; 0: 8,192
	Bodies      bool                  // the store keeps the content of records
	Logger      *slog.Logger          // nil: no log
	Metrics     prometheus.Registerer // nil: no metrics
	Now         func() time.Time      // nil: time.Now
}

// DefaultBatchEvents is the number of events at which a batch is committed before BatchAge, while events come fast. A
// commit writes about 25 pages of the WAL beside those that its rows fill (docs/storage.md, Reasons).
const DefaultBatchEvents = 4096

const (
	// With the server's own 20 ms, an event is visible within a quarter of a second.
	defaultBatchAge = 200 * time.Millisecond
	// A server answers a ping within a second.
	defaultSilence = 30 * time.Second
	// After a crash a server may use the sequence numbers of its last block again. A block has 4,096 events, and twice
	// that is a margin. Applying an event twice changes nothing.
	defaultRewind = 8192
	// A preferred host that comes and goes costs the overlap each time.
	defaultFailback = 2 * time.Minute
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

	committedUS atomic.Int64 // time of the newest event committed; 0: none

	upstreams *upstream.Hosts // cfg.Hosts, with their health
	hosts     []*host         // the same, with the positions of their streams
	gaps      *gapfill.Filler
	liveness  liveness
	progress  progress
	commitMu  sync.Mutex // held while a batch or the events of a gap are committed
}

func (cfg *Config) setDefaults() {
	if cfg.BatchEvents <= 0 {
		cfg.BatchEvents = DefaultBatchEvents
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
	if cfg.Failback <= 0 {
		cfg.Failback = defaultFailback
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
}

// New returns an Ingest. Run starts it.
func New(cfg Config) *Ingest {
	cfg.setDefaults()
	in := &Ingest{
		cfg:     cfg,
		queue:   newQueue(cfg.BatchEvents, cfg.BatchAge),
		extract: newExtractor(),
		log:     newBounded(cfg.Logger, cfg.Now),
	}
	in.upstreams = upstream.NewHosts(cfg.Hosts)
	for _, up := range in.upstreams.All() {
		in.hosts = append(in.hosts, &host{Host: up, rewind: cfg.Rewind})
	}
	in.queue.bodies = cfg.Bodies
	in.queue.now = cfg.Now
	in.metrics = newMetrics(cfg.Metrics, in)
	in.gaps = newGapFiller(in)
	in.state.Store(&State{Name: wire.UpstreamStarting, Host: in.hosts[0].URL, Since: cfg.Now()})
	return in
}

// SetSlice changes the slice of the next Run. Call it while no Run is under way.
func (in *Ingest) SetSlice(s *Slice) {
	in.cfg.Slice = s
	in.gaps = newGapFiller(in)
}

// Run follows the upstreams until ctx ends. Then it commits the events received and returns nil. It returns an error if
// the store fails. Run may be called again after it has returned nil.
func (in *Ingest) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	// Events are queued until the sessions have ended. The last commit comes after them: the next Run may have another
	// slice.
	sessions, ended := context.WithCancel(context.WithoutCancel(ctx))
	defer ended()
	g.Go(func() error { return in.commit(ctx, sessions) })
	g.Go(func() error { return in.watchCommits(ctx) })
	g.Go(func() error {
		defer ended()
		return in.runSessions(ctx)
	})
	g.Go(func() error { return in.gaps.Run(ctx) })
	err := g.Wait()
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("ingest: %w", err)
	}
	return nil
}

// named returns do as the body of a goroutine. A panic is logged with the name and raised again.
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

// commit gives batches to the store until ctx and then sessions have ended, and the queue is empty.
func (in *Ingest) commit(ctx, sessions context.Context) error {
	for {
		ended := sessions.Err() != nil // read before the queue, so that no event is left in it
		b := in.queue.take(ctx)
		if b == nil {
			if ended {
				return nil
			}
			if ctx.Err() != nil {
				<-sessions.Done()
			}
			continue
		}
		err := in.apply(b)
		if errors.Is(err, db.ErrPaused) && ctx.Err() != nil {
			return nil // the next start reads the queued events again from the upstream
		}
		if err != nil {
			return err
		}
	}
}

// apply commits a batch and returns it to the queue.
func (in *Ingest) apply(b *batch) error {
	start := in.cfg.Now()
	timeUS := b.TimeUS
	in.commitMu.Lock()
	applied, err := in.cfg.Store.Apply(b.Batch)
	in.commitMu.Unlock()
	if err != nil {
		return err
	}
	applied.BadBodies += b.bodiless
	if applied.BadBodies > 0 {
		in.log.warn("bad_body",
			"skipped record content that does not match its CID, is too large, or cannot be converted from JSON",
			"count", applied.BadBodies)
	}
	in.metrics.committed(applied, b, in.cfg.Now().Sub(start))
	in.committedUS.Store(timeUS)
	in.queue.done(b)
	return nil
}

// Ready returns nil while an upstream is followed and its events are committed. Otherwise it returns the reason.
func (in *Ingest) Ready() error {
	st := in.state.Load()
	if !st.Connected {
		name, detail := in.describe()
		if name == wire.UpstreamReplaying || name == wire.UpstreamWaiting {
			return fmt.Errorf("no event from %s: %s", st.Host, detail)
		}
		return fmt.Errorf("not following %s: %s", st.Host, detail)
	}
	silence := in.silence(in.cfg.Now())
	if silence != "" {
		return fmt.Errorf("%s, from %s", silence, st.Host)
	}
	stuck := in.stuck()
	if stuck > 0 {
		return errors.New(stuckText(stuck))
	}
	return nil
}

// Host returns the upstream of the current session, or of the last one.
func (in *Ingest) Host() string { return in.state.Load().Host }

// Received returns the number of events since the start.
func (in *Ingest) Received() uint64 { return in.received.Load() }

// Seen returns the position of the newest event received, committed or not.
func (in *Ingest) Seen() uint64 { return in.seenSeq.Load() }

// Lag returns the time by which the index is behind the upstream: the age of the newest event committed. If a quiet
// stream is followed and no event waits, it is the time since the upstream had no more events. 0: no event yet.
func (in *Ingest) Lag() time.Duration {
	lag, _ := in.lagSince(max(in.seenUS.Load(), in.liveness.completeAt.Load()))
	return lag
}

// lagSince returns the time by which the index is behind the upstream when the newest event received has the time us.
// It returns false if us is 0: no event was received.
func (in *Ingest) lagSince(us int64) (time.Duration, bool) {
	if us == 0 {
		return 0, false
	}
	return max(in.cfg.Now().Sub(time.UnixMicro(in.shownUS(us))), 0), true
}

// Current returns nil while the index is at most maxLag behind the upstream. Otherwise it returns the reason. Before
// the first event since the start, it measures from the newest event of the index.
func (in *Ingest) Current(maxLag time.Duration) error {
	us := max(in.seenUS.Load(), in.liveness.completeAt.Load())
	if us == 0 {
		us = in.cfg.Store.ReachedTime()
	}
	lag, known := in.lagSince(us)
	if known && lag <= maxLag {
		return nil
	}
	behind := "no event has been read yet"
	if known {
		behind = fmt.Sprintf("the index is %s behind the network", humanize.Duration(lag))
	}
	err := in.Ready()
	if err != nil {
		return fmt.Errorf("%s: %w", behind, err)
	}
	return errors.New(behind)
}
