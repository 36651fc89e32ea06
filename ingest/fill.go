package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"weft.dev/weft/db"
)

// A gap is filled from an archive. Its events are old: records that they made may have changed or gone since, and what
// made them so is in the index already, or was nothing to it then. So the events behind the gap are read as well, up to
// where the index is, and only what none of them has overtaken is folded.

const (
	// fillEvery is how often open gaps are looked at, and fillMax the longest wait between two attempts, which doubles
	// from the first: an archive seals a segment in hours, a damaged block is mended in days.
	fillEvery = time.Minute
	fillMax   = 6 * time.Hour

	// fillRecords bounds how many records are in memory while a gap is filled: some 400 bytes each. A longer gap is filled
	// in parts.
	fillRecords = 250_000

	// fillQuiet ends the reading of another server's live stream, which has then nothing more to say.
	fillQuiet = 3 * time.Second
)

// filled is what a gap had hidden of one account.
type filled struct {
	status  *db.Event
	records map[db.Record]*db.Event // DID empty
	synced  string                  // the revision of a resync in the gap; empty: none
	begun   bool                    // a row of it has come
	later   map[db.Record]struct{}  // records that were told of behind the gap; nil: there is more than what is in records
}

// whole forgets what was: records is all that there is from here on.
func (f *filling) whole(a *filled) {
	f.records -= len(a.records)
	clear(a.records)
	a.synced, a.begun, a.later = "", false, map[db.Record]struct{}{}
}

// filling is one attempt.
type filling struct {
	in       *Ingest
	gap      *db.Gap
	from, to uint64 // sequence numbers of the archive; 0: by time
	fromUS   int64  // times between which the gap lies, with the clocks' slack
	toUS     int64
	accounts map[string]*filled
	records  int
	cut      *event // where it was cut short: what is behind is left for the next time; pos 0: it wasn't
	x        *extractor
}

// fillGaps fills open gaps while there are any.
func (in *Ingest) fillGaps(ctx context.Context) error {
	for sleep(ctx, in.cfg.Fill) {
		gaps, err := in.cfg.Store.Gaps(ctx)
		if err != nil {
			in.log.warn("gaps", "can't list gaps", "err", err)
			continue
		}
		for i := range slices.Backward(gaps) {
			g := &gaps[i]
			wait := min(in.cfg.Fill<<min(g.Tries, 16), fillMax)
			if g.Tries > 0 && in.cfg.Now().Sub(time.UnixMicro(g.TriedUS)) < wait {
				continue
			}
			err := in.fillGap(ctx, g)
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, db.ErrFailed) {
				return err
			}
			note := "filled from an archive"
			if err != nil {
				note = err.Error()
				in.cfg.Logger.Warn("a gap stays open", "gap", g.ID, "host", g.Host, "from", g.From, "to", g.To, "err", err,
					"do", "nothing while the upstream's archive is behind: it is tried again; weft gaps lists the attempts")
			} else {
				in.cfg.Logger.Info("a gap is filled", "gap", g.ID, "host", g.Host, "from", g.From, "to", g.To)
			}
			if err := in.cfg.Store.TriedGap(g.ID, err == nil, note); err != nil {
				return err
			}
		}
	}
	return nil
}

var errNoSource = errors.New("no upstream has an archive that could fill it")

// fillGap fills a gap from whatever archive has it.
func (in *Ingest) fillGap(ctx context.Context, g *db.Gap) error {
	var errs []error
	for _, h := range in.hosts {
		kind, _, err := probe(ctx, h.url)
		if err != nil || kind != kindV2 {
			continue
		}
		bySeq := h.url == g.Host && g.To < seqLimit
		if !bySeq && (g.FromUS == 0 || g.ToUS == 0) {
			continue
		}
		for {
			more, err := in.fillFrom(ctx, h.url, g, bySeq)
			if err == nil && more {
				continue
			}
			if err == nil {
				return nil
			}
			errs = append(errs, fmt.Errorf("%s: %w", h.url, err))
			break
		}
	}
	if len(errs) == 0 {
		return errNoSource
	}
	return errors.Join(errs...)
}

// fillFrom fills a gap from a host's archive; more says that it did so in part.
func (in *Ingest) fillFrom(ctx context.Context, url string, g *db.Gap, bySeq bool) (more bool, err error) {
	a := &archive{host: url, key: in.cfg.Key, slice: in.cfg.Slice}
	f := &filling{in: in, gap: g, accounts: map[string]*filled{}, x: newExtractor(), toUS: g.ToUS + overlap.Microseconds(),
		fromUS: g.FromUS - overlap.Microseconds()}
	after := uint64(0)
	if bySeq {
		f.from, f.to = g.From, g.To
		after = g.From - 1
	} else if after, err = a.seqBefore(ctx, f.fromUS); err != nil {
		return false, err
	}
	p, err := a.plan(ctx, after, 0)
	if err != nil {
		return false, err
	}
	if bySeq && p.SealedTipSeq < g.To {
		return false, fmt.Errorf("the archive ends at %d, before the gap does", p.SealedTipSeq)
	}
	var lastUS int64
	through, err := f.readArchive(ctx, a, after, &lastUS)
	if err != nil {
		return false, err
	}
	if !bySeq && lastUS < f.toUS {
		return false, fmt.Errorf("the archive ends at %s, before the gap does", time.UnixMicro(lastUS).UTC().Format(time.RFC3339))
	}
	if err := f.readLive(ctx, url, through); err != nil {
		return false, err
	}
	return f.cut != nil, nil
}

// readArchive reads the gap, and what is behind it.
func (f *filling) readArchive(ctx context.Context, a *archive, after uint64, lastUS *int64) (uint64, error) {
	return a.read(ctx, after, 0, func(int, *block) {}, func(b *block) error {
		if b.broken != nil {
			b.rows, b.err = a.fetchOne(ctx, b)
		}
		if b.err != nil {
			return fmt.Errorf("block %d of %s: %w", b.index, b.segment, b.err)
		}
		var e event
		for i := range b.rows {
			if r := &b.rows[i]; r.Seq > after {
				if err := e.readRow(r); err != nil {
					continue // counted where it was read first, and a record without links
				}
				if err := f.event(&e); err != nil {
					return err
				}
			}
		}
		*lastUS, b.rows = b.toUS, nil
		return nil
	})
}

// inGap says whether an event is of the gap.
func (f *filling) inGap(e *event) bool {
	if f.cut != nil {
		return false
	}
	if f.to > 0 {
		return e.pos >= f.from && e.pos <= f.to
	}
	return e.timeUS >= f.fromUS && e.timeUS <= f.toUS
}

var errOther = errors.New("the archive has events of another time there: it counts anew")

// event takes an event of the gap, or lets one from behind it overtake.
func (f *filling) event(e *event) error {
	if e.op == 0 || !f.in.cfg.Slice.keeps(e) {
		return nil
	}
	a := f.accounts[e.did]
	key := db.Record{Collection: e.collection, Rkey: e.rkey}
	if !f.inGap(e) {
		f.behind(a, key, e)
		return nil
	}
	if f.to > 0 && f.gap.FromUS > 0 && f.gap.ToUS > 0 && (e.timeUS < f.fromUS || e.timeUS > f.toUS) {
		return errOther
	}
	if a == nil {
		a = &filled{records: map[db.Record]*db.Event{}}
		f.accounts[strings.Clone(e.did)] = a
	}
	switch e.op {
	case db.OpAccount:
		a.status = f.copy(e)
		if e.status == db.StatusDeleted {
			f.whole(a)
		}
	case db.OpSync:
		f.whole(a)
		a.synced = strings.Clone(e.rev)
	default:
		f.keep(a, e)
	}
	if f.records >= fillRecords {
		f.cut = &event{pos: e.pos, timeUS: e.timeUS}
	}
	return nil
}

// keep takes a record's event.
func (f *filling) keep(a *filled, e *event) {
	c := f.copy(e)
	key := db.Record{Collection: c.Collection, Rkey: c.Rkey}
	if a.records[key] == nil {
		f.records++
	}
	a.records[key] = c
}

// behind takes an event from behind the gap, which the index has.
func (f *filling) behind(a *filled, key db.Record, e *event) {
	if a == nil {
		return
	}
	switch {
	case e.op == db.OpAccount && e.status != db.StatusDeleted:
		a.status = nil
	case e.op == db.OpAccount: // all that was is gone
		delete(f.accounts, e.did)
		f.records -= len(a.records)
	case e.op == db.OpSync: // all records are told anew
		f.whole(a)
		a.later = nil
	case a.synced != "" && e.op == db.OpCreate && (e.rev == a.synced || !a.begun):
		a.synced, a.begun = strings.Clone(e.rev), true
		f.keep(a, e) // a row of the gap's resync, which may not have been taken for one
	default:
		if a.records[key] != nil {
			delete(a.records, key)
			f.records--
		}
		if a.later != nil {
			a.later[db.Record{Collection: strings.Clone(key.Collection), Rkey: strings.Clone(key.Rkey)}] = struct{}{}
		}
	}
}

// copy makes an event of the store, which is its own.
func (f *filling) copy(e *event) *db.Event {
	b := batch{bodies: f.in.cfg.Bodies}
	f.in.put(&b, e, f.x)
	if len(b.Events) == 0 {
		return &db.Event{}
	}
	return &b.Events[0]
}

// readLive reads on from the archive's end to where the index is, and folds what is left then, between two batches.
func (f *filling) readLive(ctx context.Context, url string, through uint64) error {
	kind, dict, err := probe(ctx, url)
	if err != nil {
		return err
	}
	if kind != kindV2 {
		return errNoSource
	}
	l, err := dialLive(ctx, url, kind, dict, max(through, 1), f.in.cfg.Slice)
	if err != nil {
		return err
	}
	defer l.close()
	store := f.in.cfg.Store
	own := f.in.Host() == url
	at, atUS := through, int64(0)
	var e event
	next := func() (bool, error) { // false: there is nothing more
		wait := fillQuiet
		for {
			quiet, cancel := context.WithTimeout(ctx, wait)
			err := l.next(quiet, &e)
			timeout := quiet.Err() != nil && ctx.Err() == nil
			cancel()
			switch {
			case timeout:
				return false, nil
			case errors.Is(err, errSkip):
				continue
			case err != nil:
				return false, err
			}
			if e.pos > at {
				at, atUS = e.pos, e.timeUS
				return true, f.event(&e)
			}
			return true, nil
		}
	}
	reached := func() bool {
		if own {
			return at >= store.Cursor(url)
		}
		return atUS >= store.NewestTime()
	}
	for !reached() {
		if more, err := next(); err != nil {
			return err
		} else if !more {
			break
		}
	}
	// No batch is committed from here on: what comes later overtakes by itself.
	f.in.commitMu.Lock()
	defer f.in.commitMu.Unlock()
	for !reached() {
		if more, err := next(); err != nil {
			return err
		} else if !more {
			break
		}
	}
	if own != (f.in.Host() == url) {
		return errors.New("another upstream was moved to meanwhile")
	}
	return f.apply()
}

// apply folds what nothing has overtaken.
func (f *filling) apply() error {
	var events []db.Event
	var repos []db.Repo
	flush := func() error {
		a, err := f.in.cfg.Store.Fill(events, repos)
		f.in.metrics.filled.Add(float64(a.Changed))
		events, repos = events[:0], repos[:0]
		return err
	}
	for did, a := range f.accounts {
		if a.status != nil {
			events = append(events, *a.status)
		}
		for _, e := range a.records {
			events = append(events, *e)
		}
		if a.later != nil {
			r := db.Repo{DID: did, Records: a.later}
			for key := range a.records {
				r.Records[key] = struct{}{}
			}
			repos = append(repos, r)
		}
		if len(events) >= f.in.cfg.BatchEvents {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := flush(); err != nil {
		return err
	}
	if f.cut != nil && f.to > 0 {
		f.gap.From, f.gap.FromUS = f.cut.pos+1, f.cut.timeUS
		return f.in.cfg.Store.ShrinkGap(f.gap.ID, f.gap.From, f.gap.FromUS)
	}
	if f.cut != nil { // by time, the clocks' slack is read again
		f.gap.FromUS = f.cut.timeUS + overlap.Microseconds()
		return f.in.cfg.Store.ShrinkGap(f.gap.ID, max(f.gap.From, uint64(f.cut.timeUS)), f.gap.FromUS)
	}
	return nil
}
