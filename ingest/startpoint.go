package ingest

import (
	"context"
	"errors"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

// startPoint is where a session begins. Its times are microseconds since 1970.
type startPoint struct {
	mode   startMode
	cursor uint64 // of the live stream; 0: its tip

	inArchive bool   // the session reads the archive before the live stream
	after     uint64 // the sequence number after which it reads the archive

	committed   uint64 // position of the host's last event in the index; 0: none
	committedUS int64  // its time; 0: not known
	reachedUS   int64  // for a start by time: all events before it are in the index; 0: not by time
	followedUS  int64  // the stream was followed without a pause up to here; 0: not known

	isNew          bool // the index is new
	archiveUseless bool // the archive doesn't have the events between the start point and the live stream
	acceptGap      bool // the live stream begins where it can
	checked        bool // no event is missing between the start point and the stream, or a gap is recorded
}

// startMode names the way in which a start point was found, for the log and for noteStart.
type startMode string

const (
	startAtCursor    startMode = "live"
	startByTime      startMode = "by time"
	startAtBeginning startMode = "by time, from the beginning"
	startAtTip       startMode = "live from the tip"
	startAtOldest    startMode = "from its oldest event"
	startInArchive   startMode = "from the archive"
)

const (
	// clampSlack is the longest delay with which a server receives an event after another server.
	clampSlack = 10 * time.Second
	// alwaysKept is the time for which every server keeps its events. The shortest known time is 24 hours.
	alwaysKept = time.Hour
	// rewindV1 is the rewind where positions are times: a server that restarts may send some seconds again.
	rewindV1 = 10 * time.Second
)

// isReset reports whether an event at the committed position is not the one in the index.
func (p *startPoint) isReset(pos uint64, timeUS int64) bool {
	return pos == p.committed && p.committedUS > 0 && !sameEvent(timeUS, p.committedUS)
}

// startPoint returns where a session with a host begins.
func (in *Ingest) startPoint(ctx context.Context, h *host) (startPoint, error) {
	store := in.cfg.Store
	cursor := store.Cursor(h.URL)
	reached := store.ReachedTime()
	last := store.LastFollowed()
	followed := max(store.Followed(last).UntilUS-overlap.Microseconds(), 0)
	switch {
	case cursor == 0 && reached == 0 && last == "":
		return in.newStart(ctx, h)
	case cursor == 0 && reached == 0: // the index was begun, and no event has come yet
		return startByClock(startAtBeginning, followed, followed), nil
	case cursor == 0, last != h.URL && !store.Resyncing(h.URL):
		return startByClock(startByTime, reached, followed), nil
	}
	if last != h.URL {
		followed = 0
	}
	p := startPoint{mode: startAtCursor, committed: cursor, committedUS: store.CursorTime(h.URL), followedUS: followed}
	if cursor >= db.MinTimeCursor {
		p.cursor = cursor - min(cursor, uint64(rewindV1.Microseconds())*h.rewind/in.cfg.Rewind)
		return p, nil
	}
	p.cursor = cursor - min(cursor, h.rewind)
	// The live stream reaches back a day or more, so a short rewind needs no whole segments of the archive. A cursor of
	// 0 means the tip, so a rewind to the start is read from the archive.
	p.inArchive = p.cursor == 0 && h.Kind() == upstream.KindV2
	p.cursor = max(p.cursor, 1)
	return p, nil
}

// startByClock returns a start point by time, overlap before reached.
func startByClock(mode startMode, reached, followed int64) startPoint {
	cursor := max(reached-overlap.Microseconds(), db.MinTimeCursor)
	return startPoint{mode: mode, cursor: uint64(cursor), reachedUS: reached, followedUS: followed}
}

// newStart returns where a new index begins.
func (in *Ingest) newStart(ctx context.Context, h *host) (startPoint, error) {
	from := in.cfg.From
	p := startPoint{mode: startAtTip, isNew: true, checked: true}
	if h.Kind() == upstream.KindV1 {
		switch {
		case from.Seq > 0:
			return p, errors.New("--from is a sequence number, but this server speaks v1, which has none: use a time")
		case from.Start || from.US > 0:
			p.mode = startAtOldest
			p.cursor = uint64(max(from.US, 1))
		}
		return p, nil
	}
	after, isLive, err := from.resolve(ctx, in.archiveOf(h))
	if isLive {
		return p, err
	}
	p.mode = startInArchive
	p.inArchive = true
	p.after = after
	return p, err
}

// noteStart stores where a new index begins, so that it resumes there even if the session ends before its first event.
func (in *Ingest) noteStart(h *host, p *startPoint, dialed time.Time) error {
	if !p.isNew || in.cfg.Store.LastFollowed() != "" {
		return nil
	}
	if p.mode == startInArchive { // the archive has no event of the slice
		in.commitMu.Lock()
		defer in.commitMu.Unlock()
		_, err := in.cfg.Store.Apply(db.Batch{Host: h.URL, Kind: h.Kind(), Seq: p.cursor})
		return err
	}
	until := dialed.UnixMicro()
	if p.cursor > 0 { // the stream begins earlier, and may break before it has sent all events up to now
		until = 0
		if in.cfg.From.US > 0 {
			until = in.cfg.From.US + 2*overlap.Microseconds()
		}
	}
	return in.cfg.Store.SetFollowed(h.URL, h.Kind(), db.Followed{UntilUS: until})
}

// checkStart checks whether the live stream reaches back to the start point. It asks for the server's oldest event,
// because the first event of a slice or of a quiet network may come hours later.
func (in *Ingest) checkStart(ctx context.Context, h *host, p *startPoint) error {
	if p.checked {
		return nil
	}
	bySeq := p.committed > 0 && p.committed < db.MinTimeCursor
	filtered := in.cfg.Slice.filters()
	newest := time.UnixMicro(max(p.committedUS, p.reachedUS, p.followedUS))
	switch {
	case h.Kind() == upstream.KindV2 && bySeq && !p.acceptGap:
		p.checked = filtered // the server refuses a number that it no longer has
		return nil
	case !filtered && in.cfg.Now().Sub(newest) < alwaysKept:
		p.checked = p.committed == 0 && in.cfg.Store.ReachedTime() == 0 // no event yet
		return nil
	}
	oldest, found, err := in.oldest(ctx, h)
	if err != nil || !found {
		return err // the server has no event: the next event shows it
	}
	return in.compareStart(h, &oldest, p)
}

// checkFirst compares the first event of the live stream with the start point. For a start by time a late event proves
// nothing: the host's clock may be ahead, or the network quiet.
func (in *Ingest) checkFirst(ctx context.Context, h *host, e *upstream.Event, p *startPoint) error {
	isLate := e.TimeUS > p.reachedUS+clampSlack.Microseconds()
	if !p.checked && p.committed == 0 && isLate {
		oldest, found, err := in.oldest(ctx, h)
		if err != nil {
			return err
		}
		if found {
			return in.compareStart(h, &oldest, p)
		}
	}
	return in.compareStart(h, e, p)
}

// compareStart compares the oldest event of a stream with the start point, and records a gap or returns errClamped. A
// v2 server refuses a number that it no longer has, but servers raise a time and a v1 cursor silently.
func (in *Ingest) compareStart(h *host, oldest *upstream.Event, p *startPoint) error {
	if p.checked {
		return nil
	}
	missing := p.misses(oldest)
	if missing && !p.acceptGap {
		return errClamped
	}
	p.checked = true
	if !missing {
		return nil
	}
	fromUS := max(min(p.committedUS, in.cfg.Now().UnixMicro()), p.reachedUS, p.followedUS)
	if !p.comparable(oldest) {
		return in.recordGap(h, uint64(fromUS+1), uint64(oldest.TimeUS-1), fromUS, oldest.TimeUS,
			"after a failover, the new upstream begins later")
	}
	from := p.committed + 1
	if p.committed >= db.MinTimeCursor {
		from = max(from, uint64(p.followedUS))
	}
	return in.recordGap(h, from, oldest.Pos-1, fromUS, oldest.TimeUS, "the upstream no longer has these events")
}

// misses reports whether events between the start point and the oldest event of a stream are missing.
func (p *startPoint) misses(oldest *upstream.Event) bool {
	switch {
	case p.followedUS > 0 && oldest.TimeUS <= p.followedUS:
		return false // the host was followed while it dropped them
	case p.comparable(oldest):
		return oldest.Pos > p.committed+1
	case p.reachedUS > 0 && p.committed == 0:
		return oldest.TimeUS > p.reachedUS+clampSlack.Microseconds()
	}
	return false
}

// comparable reports whether the committed position and the position of an event have the same unit: both are sequence
// numbers, or both are times.
func (p *startPoint) comparable(e *upstream.Event) bool {
	return p.committed > 0 && (p.committed < db.MinTimeCursor) == (e.Pos < db.MinTimeCursor)
}
