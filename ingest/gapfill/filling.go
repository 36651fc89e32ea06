package gapfill

import (
	"context"
	"errors"
	"fmt"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/apply"
	"weft.dev/weft/ingest/upstream"
)

const (
	// portionEvents and portionBytes bound the events that are applied while commits of the live stream wait: about
	// half a second.
	portionEvents = 50_000
	portionBytes  = 32 << 20

	// liveQuiet is the pause after which the live stream of another upstream counts as read to its tip.
	liveQuiet = 3 * time.Second
)

// filling fills a gap, or a part of it, from one archive.
type filling struct {
	cfg     Config
	gap     *db.Gap
	source  upstream.Endpoint
	archive *upstream.Archive

	bySeq    bool
	from, to uint64 // the gap in sequence numbers of the archive, if bySeq
	fromUS   int64  // the gap in time, widened by upstream.MaxSkew on both sides
	toUS     int64

	records records

	last    uint64 // position of the newest event of the gap
	lastUS  int64
	partial bool   // the rest of the gap is left for the next filling
	at      uint64 // position of the newest event read
	atUS    int64

	portion Batch // events to apply next
}

func newFilling(cfg Config, g *db.Gap, source upstream.Endpoint, bySeq bool) *filling {
	f := &filling{
		cfg:     cfg,
		gap:     g,
		source:  source,
		archive: &upstream.Archive{Endpoint: source, Key: cfg.Key, Filter: cfg.Filter, Logger: cfg.Logger},
		bySeq:   bySeq,
		fromUS:  g.FromUS - upstream.MaxSkew.Microseconds(),
		toUS:    g.ToUS + upstream.MaxSkew.Microseconds(),
		records: newRecords(cfg.Pipeline.NewBatch()),
		portion: cfg.Pipeline.NewBatch(),
	}
	if bySeq {
		f.from = g.From
		f.to = g.To
	}
	return f
}

// run reads the archive twice, applies the events of the gap, and records the part that is filled. more means that a
// part of the gap is left.
func (f *filling) run(ctx context.Context) (more bool, err error) {
	after, err := f.start(ctx)
	if err != nil {
		return false, err
	}
	f.at, f.atUS, err = f.archive.Events(ctx, after, 0, f.firstPass)
	if err != nil {
		return false, err
	}
	err = f.checkEnd(ctx)
	if err != nil {
		return false, err
	}
	err = f.catchUp(ctx, f.applyAccounts)
	if err != nil {
		return false, err
	}
	if len(f.records.newest) > 0 {
		second := func(e *upstream.Event) error { return f.secondPass(ctx, e) }
		_, _, err = f.archive.Events(ctx, after, f.last, second)
		if err != nil {
			return false, err
		}
	}
	err = f.catchUp(ctx, f.applyPortion)
	if err != nil {
		return false, err
	}
	return f.partial, f.shrink()
}

// start returns the sequence number after which the archive is read. For a gap in sequence numbers, the archive must
// reach the end of the gap.
func (f *filling) start(ctx context.Context) (after uint64, err error) {
	after = f.from - min(f.from, 1)
	if !f.bySeq {
		after, err = f.archive.SeqBefore(ctx, f.fromUS)
		if err != nil {
			return 0, err
		}
	}
	p, err := f.archive.Plan(ctx, after, 0)
	if err != nil {
		return 0, err
	}
	if f.bySeq && p.SealedTipSeq < f.to {
		return 0, fmt.Errorf("the archive ends at %d, before the end of the gap", p.SealedTipSeq)
	}
	return after, nil
}

// checkEnd checks that the archive reaches the end of a gap in time. It compares all events: the next event of the
// slice may be hours later.
func (f *filling) checkEnd(ctx context.Context) error {
	if f.bySeq {
		return nil
	}
	endUS, err := f.archive.EndTime(ctx)
	if err != nil {
		return err
	}
	if endUS < f.toUS {
		end := time.UnixMicro(endUS).UTC().Format(time.RFC3339)
		return fmt.Errorf("the archive ends at %s, before the end of the gap", end)
	}
	return nil
}

// shrink records that a part of the gap is filled. For a gap in time it stores the end plus upstream.MaxSkew, because
// the next filling subtracts MaxSkew from its start.
func (f *filling) shrink() error {
	if !f.partial {
		return nil
	}
	if f.bySeq {
		f.gap.From = f.last + 1
		f.gap.FromUS = f.lastUS
		return f.cfg.Store.ShrinkGap(f.gap.ID, f.gap.From, f.gap.FromUS)
	}
	f.gap.FromUS = f.lastUS + upstream.MaxSkew.Microseconds()
	return f.cfg.Store.ShrinkGap(f.gap.ID, max(f.gap.From, uint64(f.lastUS)), f.gap.FromUS)
}

// inGap reports whether an event is in the part of the gap that this filling fills.
func (f *filling) inGap(e *upstream.Event) bool {
	if f.partial {
		return false
	}
	if f.bySeq {
		return e.Pos >= f.from && e.Pos <= f.to
	}
	return e.TimeUS >= f.fromUS && e.TimeUS <= f.toUS
}

var errReset = errors.New("the archive has events of another time at these numbers: its sequence was reset")

// firstPass notes an event of the gap, or an event after it that supersedes one of the gap.
func (f *filling) firstPass(e *upstream.Event) error {
	if e.Op == 0 || !f.cfg.Pipeline.Keeps(e) {
		return nil
	}
	if !f.inGap(e) {
		f.records.afterGap(e)
		return nil
	}
	if f.bySeq && f.gap.FromUS > 0 && f.gap.ToUS > 0 && (e.TimeUS < f.fromUS || e.TimeUS > f.toUS) {
		return errReset
	}
	changes, err := f.mayChange(e)
	if err != nil || !changes {
		return err
	}
	f.last = e.Pos
	f.lastUS = e.TimeUS
	f.records.inGap(e)
	f.partial = len(f.records.newest)+accountRecords*len(f.records.accounts) >= f.cfg.Records
	return nil
}

// accountRecords is the number of records that take as much memory as an account with a change of status: 450 bytes.
const accountRecords = 10

// mayChange reports whether an event of the gap may change the index. Most records of the network link to no subject of
// a slice. Noting all of them would take as many passes as filling the gap for the whole network.
func (f *filling) mayChange(e *upstream.Event) (bool, error) {
	switch {
	case f.records.has(e):
		return true, nil
	case e.Op == db.OpSync || e.Op == db.OpAccount && e.Status != db.StatusActive:
		return true, nil
	case e.Op != db.OpAccount && f.cfg.Pipeline.KeepsLinks(e):
		return true, nil
	}
	// The index has no record of an account that it doesn't know, and takes the account for active.
	return f.cfg.Store.HasAccount(e.DID)
}

// secondPass applies an event of the gap unless a later event has superseded it.
func (f *filling) secondPass(ctx context.Context, e *upstream.Event) error {
	isRecord := e.Op != 0 && e.Op != db.OpAccount && e.Op != db.OpSync
	if !isRecord || !f.cfg.Pipeline.Keeps(e) || !f.records.stillNewest(e.DID, e.Collection, e.Rkey, e.Pos) {
		return nil
	}
	f.portion.Add(e)
	if len(f.portion.Events()) < portionEvents && f.portion.Size() < portionBytes {
		return nil
	}
	return f.catchUp(ctx, f.applyPortion)
}

// applyAccounts applies the status changes and resyncs of the gap. A resync's records may follow with the second pass.
func (f *filling) applyAccounts() error {
	var events []apply.Event
	var repos []db.Repo
	for did, a := range f.records.accounts {
		if a.status != nil {
			events = append(events, *a.status)
		}
		for _, i := range a.rows {
			events = append(events, f.records.kept.Events()[i])
		}
		if a.repo != nil {
			repos = append(repos, db.Repo{DID: did, Records: a.repo})
		}
		if len(events) >= f.cfg.Events {
			err := f.apply(events, repos)
			if err != nil {
				return err
			}
			events = events[:0]
			repos = repos[:0]
		}
	}
	return f.apply(events, repos)
}

// applyPortion applies the events of the portion that are still the newest of their records, and empties it.
func (f *filling) applyPortion() error {
	defer f.portion.Reset()
	var events []apply.Event
	for _, e := range f.portion.Events() {
		if f.records.stillNewest(e.DID, e.Collection, e.Rkey, e.Seq) {
			events = append(events, e)
		}
	}
	for len(events) > 0 {
		n := min(len(events), f.cfg.Events)
		err := f.apply(events[:n], nil)
		if err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}

func (f *filling) apply(events []apply.Event, repos []db.Repo) error {
	a, err := f.cfg.Store.Fill(events, repos)
	f.cfg.Filled(a.Changed)
	return err
}
