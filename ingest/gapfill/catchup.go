package gapfill

import (
	"context"
	"errors"

	"weft.dev/weft/ingest/upstream"
)

// catchUp reads the live stream up to the position of the index. Then it runs apply while commits are paused: events
// that are committed later supersede the events of the gap.
func (f *filling) catchUp(ctx context.Context, apply func() error) error {
	speaks, err := f.source.Probe(ctx, true, 0)
	if err != nil {
		return err
	}
	if speaks.Kind != upstream.KindV2 {
		return errNoSource
	}
	l, err := upstream.Dial(ctx, f.source, speaks.Kind, speaks.Dictionary, max(f.at, 1), f.cfg.Filter)
	if err != nil {
		return err
	}
	defer l.Close()
	isFollowed := f.isFollowed()
	err = f.readToIndex(ctx, l)
	if err != nil {
		return err
	}
	resume := f.cfg.Pipeline.PauseCommits()
	defer resume()
	err = f.readToIndex(ctx, l) // reads the batches that were committed meanwhile
	if err != nil {
		return err
	}
	if isFollowed != f.isFollowed() {
		return errors.New("weft switched to another upstream meanwhile")
	}
	return apply()
}

// isFollowed reports whether the source is also the upstream of the live stream.
func (f *filling) isFollowed() bool { return f.cfg.Pipeline.Host() == f.source.URL }

var errPause = errors.New("its live stream pauses before the position of the index")

// readToIndex reads events until they reach the position of the index. Two streams may end before, and then
// readToIndex reads until there are none: that of an upstream that weft doesn't follow, whose clock may be behind, and
// a filtered stream, after the slice was changed. The whole stream of the followed upstream has all events up to there.
func (f *filling) readToIndex(ctx context.Context, l *upstream.Live) error {
	for !f.hasReachedIndex() {
		more, err := f.readLive(ctx, l)
		switch {
		case err != nil:
			return err
		case !more && f.isFollowed() && f.cfg.Filter.ForLive().IsZero():
			return errPause
		case !more:
			return nil
		}
	}
	return nil
}

// hasReachedIndex reports whether all events of the index were read.
func (f *filling) hasReachedIndex() bool {
	if f.isFollowed() {
		return f.at >= f.cfg.Store.Cursor(f.source.URL)
	}
	return f.atUS >= f.cfg.Store.ReachedTime()
}

// readLive reads the next event of the live stream. more is false if none comes within liveQuiet.
func (f *filling) readLive(ctx context.Context, l *upstream.Live) (more bool, err error) {
	quiet, cancel := context.WithTimeout(ctx, liveQuiet)
	defer cancel()
	var e upstream.Event
	err = upstream.ErrSkip
	for errors.Is(err, upstream.ErrSkip) {
		err = l.Next(quiet, &e)
	}
	if err != nil {
		if quiet.Err() != nil && ctx.Err() == nil {
			return false, nil
		}
		return false, err
	}
	if e.Pos <= f.at {
		return true, nil
	}
	f.at = e.Pos
	if e.TimeUS <= f.cfg.Now().UnixMicro() { // a time in the future doesn't show the position of the stream
		f.atUS = e.TimeUS
	}
	return true, f.firstPass(&e)
}
