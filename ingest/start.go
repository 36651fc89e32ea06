package ingest

import (
	"context"
	"errors"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

// place is where a session begins.
type place struct {
	how     string
	archive bool   // behind after, before the live stream
	after   uint64 //
	cursor  uint64 // of the live stream; 0: its tip
	known   uint64 // the host's last event that is in the index; 0: none
	knownUS int64  // its time; 0: not known
	newest  int64  // by time: all that was before is in the index; 0: not by time
	whole   int64  // up to this time the stream was followed, whatever came; 0: not known
	begins  bool   // a new index
	useless bool   // the archive has nothing of what lies between
	lossy   bool   // there is no way to it: the stream begins where it can
	checked bool   // that nothing is missing between it and the stream's start, or that is written down
}

const (
	// clampSlack is how much later another server may have seen an event.
	clampSlack = 10 * time.Second
	// keptAlways is how long every server keeps its events: the shortest that is known is 24 hours.
	keptAlways = time.Hour
)

// where says where a session with a host begins.
func (in *Ingest) where(ctx context.Context, h *host) (p place, err error) {
	store := in.cfg.Store
	seq, us, reached, last := store.Cursor(h.URL), store.CursorTime(h.URL), store.ReachedTime(), store.LastFollowed()
	whole := max(store.Followed(last).UntilUS-overlap.Microseconds(), 0)
	switch {
	case seq == 0 && reached == 0 && last == "":
		return in.begin(ctx, h)
	case seq == 0 && reached == 0: // it has begun, and no event has come yet
		cursor := max(whole-overlap.Microseconds(), upstream.MinTimeCursor)
		return place{how: "by time, from the beginning", cursor: uint64(cursor), newest: whole, whole: whole}, nil
	case seq == 0 || last != h.URL && !store.Resyncing(h.URL):
		cursor := max(reached-overlap.Microseconds(), upstream.MinTimeCursor)
		return place{how: "by time", cursor: uint64(cursor), newest: reached, whole: whole}, nil
	}
	if last != h.URL {
		whole = 0
	}
	p = place{how: "live", known: seq, knownUS: us, whole: whole}
	if seq >= upstream.MinTimeCursor {
		p.cursor = seq - min(seq, uint64(rewindV1.Microseconds())*h.rewind/in.cfg.Rewind)
		return p, nil
	}
	p.cursor = seq - min(seq, h.rewind)
	// The live stream reaches back a day or more, which spares the archive whole segments for a short rewind. It takes 0
	// for the tip, so that a rewind to the start is left to the archive too.
	if h.kind == upstream.KindV2 && p.cursor == 0 {
		p.archive = true
	}
	p.cursor = max(p.cursor, 1)
	return p, nil
}

// begin says where a new index begins.
func (in *Ingest) begin(ctx context.Context, h *host) (p place, err error) {
	from := in.cfg.From
	p.begins, p.checked = true, true
	if h.kind == upstream.KindV1 {
		if from.Seq > 0 {
			return p, errors.New("--from is a sequence number, but this server speaks v1, which has none: use a time")
		}
		if p.how = "live from the tip"; from.Start || from.US > 0 {
			p.how, p.cursor = "from its oldest event", uint64(max(from.US, 1))
		}
		return p, nil
	}
	after, isLive, err := from.resolve(ctx, in.archiveOf(h))
	if isLive {
		p.how = "live from the tip"
		return p, err
	}
	p.archive, p.after = true, after
	return p, err
}

// noteBeginning makes a new index go on where it has begun, also when the session ends before its first event.
func (in *Ingest) noteBeginning(h *host, p *place, dialed time.Time) error {
	if !p.begins || in.cfg.Store.LastFollowed() != "" {
		return nil
	}
	if p.how != "live from the tip" && h.kind == upstream.KindV2 { // the archive had nothing for the slice
		in.commitMu.Lock()
		defer in.commitMu.Unlock()
		_, err := in.cfg.Store.Apply(db.Batch{Host: h.URL, Kind: h.kind, Seq: p.cursor})
		return err
	}
	until := dialed.UnixMicro()
	if p.cursor > 0 { // the stream begins before, and may not have sent what lies between when it breaks off
		until = 0
		if in.cfg.From.US > 0 {
			until = in.cfg.From.US + 2*overlap.Microseconds()
		}
	}
	return in.cfg.Store.SetFollowed(h.URL, h.kind, db.Followed{UntilUS: until})
}

// checkStart finds out whether the stream reaches back to where it was to begin, where its first event doesn't say: that
// of a slice, or of a quiet network, may come hours later. The oldest event that the server has tells it.
func (in *Ingest) checkStart(ctx context.Context, h *host, p *place) error {
	if p.checked {
		return nil
	}
	bySeq := p.known > 0 && p.known < upstream.MinTimeCursor
	filtered := in.cfg.Slice.filters()
	switch {
	case h.kind == upstream.KindV2 && bySeq && !p.lossy:
		p.checked = filtered // the server refuses a number that it no longer has
		return nil
	case !filtered && in.cfg.Now().Sub(time.UnixMicro(max(p.knownUS, p.newest, p.whole))) < keptAlways:
		p.checked = p.known == 0 && in.cfg.Store.ReachedTime() == 0 // its first event was not there yet
		return nil
	}
	floor, found, err := in.oldest(ctx, h)
	if err != nil || !found {
		return err // nothing is there: the next event tells
	}
	return in.judgeStart(h, &floor, p)
}

// oldest is the oldest event that a host has, of all that it has.
func (in *Ingest) oldest(ctx context.Context, h *host) (e upstream.Event, found bool, err error) {
	return in.firstEvent(ctx, h, upstream.MinTimeCursor, in.cfg.Silence/2) // a cursor of a time before any
}

// checkFirst holds the first event that has come against where the stream was to begin. By time it proves nothing when it
// is late: the host's clock may be ahead, or the network quiet.
func (in *Ingest) checkFirst(ctx context.Context, h *host, e *upstream.Event, p *place) error {
	if !p.checked && p.known == 0 && e.TimeUS > p.newest+clampSlack.Microseconds() {
		floor, found, err := in.oldest(ctx, h)
		if err != nil {
			return err
		}
		if found {
			return in.judgeStart(h, &floor, p)
		}
	}
	return in.judgeStart(h, e, p)
}

// judgeStart holds the oldest event that a stream has against where the stream was to begin. A v2 server refuses a number
// that it no longer has; a time and a v1 cursor are raised without a word.
func (in *Ingest) judgeStart(h *host, floor *upstream.Event, p *place) error {
	if p.checked {
		return nil
	}
	bySeq := p.known > 0 && (p.known < upstream.MinTimeCursor) == (floor.Pos < upstream.MinTimeCursor)
	missing := false
	switch {
	case p.whole > 0 && floor.TimeUS <= p.whole: // whatever the server no longer has was followed
	case bySeq:
		missing = floor.Pos > p.known+1
	case p.newest > 0 && p.known == 0:
		missing = floor.TimeUS > p.newest+clampSlack.Microseconds()
	}
	if missing && !p.lossy {
		return errClamped
	}
	p.checked = true
	if !missing {
		return nil
	}
	fromUS := max(min(p.knownUS, in.cfg.Now().UnixMicro()), p.newest, p.whole)
	if !bySeq {
		return in.missed(h, uint64(fromUS+1), uint64(floor.TimeUS-1), fromUS, floor.TimeUS,
			"after a failover, the new upstream begins later")
	}
	from := p.known + 1
	if p.known >= upstream.MinTimeCursor {
		from = max(from, uint64(p.whole))
	}
	return in.missed(h, from, floor.Pos-1, fromUS, floor.TimeUS, "the upstream no longer has these events")
}
