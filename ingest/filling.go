package ingest

import (
	"context"
	"errors"
	"hash/maphash"
	"strings"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

// filling is an attempt to fill a gap: what is left of it by the events behind it.
type filling struct {
	in                *Ingest
	gap               *db.Gap
	upstream.Endpoint        // whose archive it is filled from
	from, to          uint64 // sequence numbers of the archive; 0: by time
	fromUS            int64  // times between which the gap lies, with the clocks' slack
	toUS              int64

	seeds    [2]maphash.Seed
	hash     maphash.Hash
	newest   map[fillID]uint64  // the position of the last event of each record of the gap, unless one from behind has overtaken it
	wiped    map[fillID]uint64  // by account: what its records were up to this position is overtaken
	accounts map[string]*filled // those of which the gap had hidden more than records

	last   uint64 // the position of the gap's last event
	lastUS int64  //
	cut    bool   // there is more of the gap behind it, which is left for the next time
	at     uint64 // how far it was read
	atUS   int64  //

	x       *extractor
	one     batch // events that are kept
	portion batch // what is folded next
}

// fillID is a keyed hash of a record or an account: of 128 bits, for thousands of millions of events may be held against
// the records of a gap, and each that is taken for another's would be lost.
type fillID [2]uint64

// filled is what a gap had hidden of one account.
type filled struct {
	status *db.Event
	synced string                  // the revision of a resync in the gap; empty: none
	begun  bool                    // a row of it has come from behind the gap
	rows   map[db.Record]*db.Event // of it, from behind the gap; DID empty
	repo   map[db.Record]struct{}  // all records that were told of since then; nil: there may be others
}

func newFilling(in *Ingest, g *db.Gap, e upstream.Endpoint) *filling {
	f := &filling{in: in, gap: g, Endpoint: e, fromUS: g.FromUS - overlap.Microseconds(), toUS: g.ToUS + overlap.Microseconds(),
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, newest: map[fillID]uint64{}, wiped: map[fillID]uint64{}, accounts: map[string]*filled{}, x: newExtractor()}
	f.one.bodies, f.portion.bodies = in.cfg.Bodies, in.cfg.Bodies
	return f
}

// id is a record's hash, or, without one, an account's.
func (f *filling) id(did, collection, rkey string) (id fillID) {
	for i := range id {
		f.hash.SetSeed(f.seeds[i])
		for _, part := range [...]string{did, collection, rkey} {
			_, _ = f.hash.WriteString(part)
			_ = f.hash.WriteByte(0)
		}
		id[i] = f.hash.Sum64()
	}
	return id
}

// inGap says whether an event is of the gap.
func (f *filling) inGap(e *upstream.Event) bool {
	if f.cut {
		return false
	}
	if f.to > 0 {
		return e.Pos >= f.from && e.Pos <= f.to
	}
	return e.TimeUS >= f.fromUS && e.TimeUS <= f.toUS
}

var errOther = errors.New("the archive has events of another time at these numbers: its sequence was reset")

// event takes an event of the gap, or lets one from behind it overtake.
func (f *filling) event(e *upstream.Event) error {
	if e.Op == 0 || !f.in.cfg.Slice.keeps(e) {
		return nil
	}
	a := f.accounts[e.DID]
	if !f.inGap(e) {
		f.behind(a, e)
		return nil
	}
	if f.to > 0 && f.gap.FromUS > 0 && f.gap.ToUS > 0 && (e.TimeUS < f.fromUS || e.TimeUS > f.toUS) {
		return errOther
	}
	f.last, f.lastUS = e.Pos, e.TimeUS
	if a == nil && (e.Op == db.OpAccount || e.Op == db.OpSync) {
		a = &filled{}
		f.accounts[strings.Clone(e.DID)] = a
	}
	switch e.Op {
	case db.OpAccount:
		a.status = f.copy(e)
		if e.Status == db.StatusDeleted {
			f.whole(a, e)
		}
	case db.OpSync:
		f.whole(a, e)
		a.synced = strings.Clone(e.Rev)
	default:
		f.newest[f.id(e.DID, e.Collection, e.Rkey)] = e.Pos
		a.told(e)
	}
	f.cut = len(f.newest) >= f.in.cfg.FillRecords
	return nil
}

// whole forgets what an account's records were: what is told from here on is all that there is.
func (f *filling) whole(a *filled, e *upstream.Event) {
	f.wiped[f.id(e.DID, "", "")] = e.Pos
	a.synced, a.begun, a.rows, a.repo = "", false, nil, map[db.Record]struct{}{}
}

// told notes that a record is there, or is gone by its own event.
func (a *filled) told(e *upstream.Event) {
	if a != nil && a.repo != nil {
		a.repo[db.Record{Collection: strings.Clone(e.Collection), Rkey: strings.Clone(e.Rkey)}] = struct{}{}
	}
}

// behind takes an event from behind the gap, which the index has.
func (f *filling) behind(a *filled, e *upstream.Event) {
	switch {
	case e.Op == db.OpAccount && e.Status != db.StatusDeleted:
		if a != nil {
			a.status = nil
		}
		return
	case e.Op == db.OpAccount: // all that was is gone
		f.wiped[f.id(e.DID, "", "")] = e.Pos
		delete(f.accounts, e.DID)
		return
	case e.Op == db.OpSync: // all records are told anew
		f.wiped[f.id(e.DID, "", "")] = e.Pos
		if a != nil {
			f.whole(a, e)
			a.repo = nil
		}
		return
	}
	delete(f.newest, f.id(e.DID, e.Collection, e.Rkey))
	if a == nil {
		return
	}
	a.told(e)
	key := db.Record{Collection: e.Collection, Rkey: e.Rkey}
	if a.synced == "" || e.Op != db.OpCreate || e.Rev != a.synced && a.begun {
		delete(a.rows, key)
		return
	}
	// A row of the gap's resync, which may not have been taken for one.
	a.synced, a.begun = strings.Clone(e.Rev), true
	c := f.copy(e)
	if a.rows == nil {
		a.rows = map[db.Record]*db.Event{}
	}
	a.rows[db.Record{Collection: c.Collection, Rkey: c.Rkey}] = c
}

// copy makes an event of the store, which is its own.
func (f *filling) copy(e *upstream.Event) *db.Event {
	f.one.Events = f.one.Events[:0]
	f.in.put(&f.one, e, f.x)
	c := f.one.Events[0]
	return &c
}

// left says that nothing has overtaken an event of a record of the gap.
func (f *filling) left(did, collection, rkey string, pos uint64) bool {
	newest, ok := f.newest[f.id(did, collection, rkey)]
	return ok && newest == pos && f.wiped[f.id(did, "", "")] < pos
}

// again takes an event of the gap, when it comes the second time, unless another one has overtaken it.
func (f *filling) again(ctx context.Context, e *upstream.Event) error {
	if e.Op == 0 || e.Op == db.OpAccount || e.Op == db.OpSync || !f.in.cfg.Slice.keeps(e) || !f.left(e.DID, e.Collection, e.Rkey, e.Pos) {
		return nil
	}
	f.in.put(&f.portion, e, f.x)
	if len(f.portion.Events) < fillPortion && f.portion.cost() < fillBytes {
		return nil
	}
	return f.present(ctx, f.foldPortion)
}

// reached says that all that the index has was read.
func (f *filling) reached() bool {
	if f.in.Host() == f.URL {
		return f.at >= f.in.cfg.Store.Cursor(f.URL)
	}
	return f.atUS >= f.in.cfg.Store.ReachedTime()
}

// present reads on to where the index is, and does something before it goes on: between two batches.
func (f *filling) present(ctx context.Context, do func() error) error {
	speaks, err := f.Probe(ctx, true, 0)
	if err != nil {
		return err
	}
	if speaks.Kind != upstream.KindV2 {
		return errNoSource
	}
	l, err := upstream.Dial(ctx, f.Endpoint, speaks.Kind, speaks.Dictionary, max(f.at, 1), f.in.cfg.Slice.filter())
	if err != nil {
		return err
	}
	defer l.Close()
	own := f.in.Host() == f.URL
	catchUp := func() error {
		for !f.reached() {
			if more, err := f.readLive(ctx, l); err != nil || !more {
				return err
			}
		}
		return nil
	}
	if err := catchUp(); err != nil {
		return err
	}
	// No batch is committed from here on: what comes later overtakes by itself.
	f.in.commitMu.Lock()
	defer f.in.commitMu.Unlock()
	if err := catchUp(); err != nil {
		return err
	}
	if own != (f.in.Host() == f.URL) {
		return errors.New("weft switched to another upstream meanwhile")
	}
	return do()
}

// readLive reads an event of the live stream; more is false when there is none.
func (f *filling) readLive(ctx context.Context, l *upstream.Live) (more bool, err error) {
	quiet, cancel := context.WithTimeout(ctx, fillQuiet)
	defer cancel()
	var e upstream.Event
	for {
		switch err := l.Next(quiet, &e); {
		case err != nil && quiet.Err() != nil && ctx.Err() == nil:
			return false, nil
		case errors.Is(err, upstream.ErrSkip):
			continue
		case err != nil:
			return false, err
		}
		if e.Pos > f.at {
			f.at = e.Pos
			if e.TimeUS <= f.in.cfg.Now().UnixMicro() { // a time of the future doesn't say how far the stream is
				f.atUS = e.TimeUS
			}
			return true, f.event(&e)
		}
		return true, nil
	}
}

// foldAccounts folds what the gap had hidden of whole accounts. Their records may follow.
func (f *filling) foldAccounts() error {
	var events []db.Event
	var repos []db.Repo
	for did, a := range f.accounts {
		if a.status != nil {
			events = append(events, *a.status)
		}
		for _, e := range a.rows {
			events = append(events, *e)
		}
		if a.repo != nil {
			repos = append(repos, db.Repo{DID: did, Records: a.repo})
		}
		if len(events) >= f.in.cfg.BatchEvents {
			if err := f.fold(events, repos); err != nil {
				return err
			}
			events, repos = events[:0], repos[:0]
		}
	}
	return f.fold(events, repos)
}

// foldPortion folds the records of the portion that are still left, and empties it.
func (f *filling) foldPortion() error {
	defer f.portion.reset()
	events := f.portion.Events[:0]
	for _, e := range f.portion.Events {
		if f.left(e.DID, e.Collection, e.Rkey, e.Seq) {
			events = append(events, e)
		}
	}
	for n := 0; len(events) > 0; events = events[n:] {
		n = min(len(events), f.in.cfg.BatchEvents)
		if err := f.fold(events[:n], nil); err != nil {
			return err
		}
	}
	return nil
}

func (f *filling) fold(events []db.Event, repos []db.Repo) error {
	a, err := f.in.cfg.Store.Fill(events, repos)
	f.in.metrics.filled.Add(float64(a.Changed))
	return err
}
