// Package gapfill fills recorded gaps from the archives of upstreams, beside the live stream.
//
// A gap's events are old. Later events may have changed or deleted their records. The index has applied some of these
// later events; others changed nothing when they came. So a fill also reads the events after the gap, up to the
// position of the index, and applies only events that no later event supersedes. The first pass notes the newest event
// of each record of the gap. The second pass reads the gap again and applies those events.
package gapfill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/ingest/upstream"
)

// Store stores the gaps and applies their events.
type Store interface {
	// Gaps lists the open gaps, newest first.
	Gaps(context.Context) ([]db.Gap, error)
	// Fill applies events of a gap.
	Fill([]apply.Event, []db.Repo) (apply.Counts, error)
	// ShrinkGap records that a gap is filled up to a position.
	ShrinkGap(id int64, from uint64, fromUS int64) error
	// TriedGap records the result of an attempt to fill a gap.
	TriedGap(id int64, filled bool, note string) error
	// Cursor returns the position up to which the events of a host are committed.
	Cursor(host string) uint64
	// HasAccount reports whether the index knows an account.
	HasAccount(did string) (bool, error)
	// ReachedTime returns the time up to which events are committed, in microseconds since 1970.
	ReachedTime() int64
}

// Pipeline is the ingest of the live stream.
type Pipeline interface {
	// Host returns the upstream that is followed.
	Host() string
	// Keeps reports whether an event is in the slice of the index.
	Keeps(*upstream.Event) bool
	// KeepsLinks reports whether the index holds links of a record after an event. It may return true for a record
	// without links, but never false for a record with links.
	KeepsLinks(*upstream.Event) bool
	// NewBatch returns an empty batch.
	NewBatch() Batch
	// PauseCommits waits for the commit that is under way, and delays the next commit until resume is called.
	PauseCommits() (resume func())
}

// Batch converts events for the store: it finds the links of their records.
type Batch interface {
	Add(*upstream.Event)
	// Events returns the converted events. They are valid until Reset.
	Events() []apply.Event
	// Size returns the memory of the batch, in bytes.
	Size() int
	Reset()
}

// Config configures a Filler. Store, Pipeline and Upstreams are required.
type Config struct {
	Store     Store
	Pipeline  Pipeline
	Upstreams []upstream.Endpoint
	Key       string           // API key of the archives; empty: none
	Filter    upstream.Filter  // the events to ask an archive for
	Interval  time.Duration    // between two checks for open gaps; 0: 1 minute
	Records   int              // records of a gap noted at a time, in 45 bytes of memory each; 0: 3,000,000
	Events    int              // the events of one transaction; 0: 1,000
	Filled    func(rows int)   // called after each transaction with its log rows; nil: no call
	Logger    *slog.Logger     // nil: no log
	Now       func() time.Time // nil: time.Now
}

const (
	// The wait between two attempts at a gap doubles from defaultInterval up to maxWait: an archive seals a segment
	// within hours, and a damaged block takes days to repair.
	defaultInterval = time.Minute
	maxWait         = 6 * time.Hour

	// A longer gap is filled in parts, and the events after it are read for each part. A day of the network is about
	// twelve parts.
	defaultRecords = 3_000_000

	// Large enough to amortise the fixed cost of a commit, as for the live stream.
	defaultEvents = 1000
)

// Filler fills gaps.
type Filler struct{ cfg Config }

// New returns a Filler. Run starts it.
func New(cfg Config) *Filler {
	if cfg.Interval <= 0 {
		cfg.Interval = defaultInterval
	}
	if cfg.Records <= 0 {
		cfg.Records = defaultRecords
	}
	if cfg.Events <= 0 {
		cfg.Events = defaultEvents
	}
	if cfg.Filled == nil {
		cfg.Filled = func(int) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Filler{cfg: cfg}
}

// Run fills open gaps, oldest first, until ctx ends. It returns an error if the store fails.
func (f *Filler) Run(ctx context.Context) error {
	for upstream.Sleep(ctx, f.cfg.Interval) {
		gaps, err := f.cfg.Store.Gaps(ctx)
		if err != nil {
			f.cfg.Logger.Warn("cannot list gaps", "err", err)
			continue
		}
		for i := range slices.Backward(gaps) {
			if !f.isDue(&gaps[i]) {
				continue
			}
			err := f.attempt(ctx, &gaps[i])
			if err != nil {
				return err
			}
			if ctx.Err() != nil {
				return nil
			}
		}
	}
	return nil
}

// isDue reports whether it is time for the next attempt at a gap.
func (f *Filler) isDue(g *db.Gap) bool {
	wait := min(f.cfg.Interval<<min(g.Tries, 16), maxWait)
	return g.Tries == 0 || f.cfg.Now().Sub(time.UnixMicro(g.TriedUS)) >= wait
}

// attempt tries to fill a gap, and records the result unless ctx has ended. It returns an error if the store fails.
func (f *Filler) attempt(ctx context.Context, g *db.Gap) error {
	err := f.fill(ctx, g)
	if ctx.Err() != nil {
		return nil
	}
	if errors.Is(err, db.ErrFailed) {
		return err
	}
	note := "filled from an archive"
	if err != nil {
		note = err.Error()
		f.cfg.Logger.Warn("filling a gap failed; retrying later",
			"gap", g.ID, "host", g.Host, "from", g.From, "to", g.To, "err", err,
			"do", "nothing while the upstream's archive is behind; weft gaps lists the attempts")
	} else {
		f.cfg.Logger.Info("filled a gap", "gap", g.ID, "host", g.Host, "from", g.From, "to", g.To)
	}
	return f.cfg.Store.TriedGap(g.ID, err == nil, note)
}

var errNoSource = errors.New("no upstream has an archive for it")

// fill fills a gap from the first archive that has it.
func (f *Filler) fill(ctx context.Context, g *db.Gap) error {
	var errs []error
	for _, source := range f.cfg.Upstreams {
		speaks, err := source.Probe(ctx, true, 0)
		if err != nil || speaks.Kind != upstream.KindV2 {
			continue
		}
		bySeq := source.URL == g.Host && g.To < db.MinTimeCursor
		if !bySeq && (g.FromUS == 0 || g.ToUS == 0) {
			continue
		}
		more := true
		for more && err == nil {
			more, err = newFilling(f.cfg, g, source, bySeq).run(ctx)
		}
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", source.URL, err))
	}
	if len(errs) == 0 {
		return errNoSource
	}
	return errors.Join(errs...)
}
