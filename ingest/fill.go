package ingest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bluesky-social/jetstream/segment"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

// A gap is filled from an archive. Its events are old: records that they made may have changed or gone since, and what
// made them so is in the index already, or was nothing to it then. So the events behind the gap are read as well, up to
// where the index is, and only what none of them has overtaken is folded. For that the gap is read twice and what is
// behind it once: the first time notes which event of the gap is each record's last (filling), and the second takes those.

const (
	// fillEvery is how often open gaps are looked at, and fillMax the longest wait between two attempts, which doubles
	// from the first: an archive seals a segment in hours, a damaged block is mended in days.
	fillEvery = time.Minute
	fillMax   = 6 * time.Hour

	// fillRecords is of how many records the last event is known at once: some 45 bytes each. A longer gap is filled in
	// parts, and what is behind it is read for each: a day of the network is some twelve.
	fillRecords = 3_000_000

	// fillPortion and fillBytes bound what is folded at once, between two batches of the live stream: half a second's work.
	fillPortion = 50_000
	fillBytes   = 32 << 20

	// fillQuiet ends the reading of another server's live stream, which has then nothing more to say.
	fillQuiet = 3 * time.Second
)

// fillGaps fills open gaps while there are any.
func (in *Ingest) fillGaps(ctx context.Context) error {
	for upstream.Sleep(ctx, in.cfg.Fill) {
		gaps, err := in.cfg.Store.Gaps(ctx)
		if err != nil {
			in.log.warn("gaps", "cannot list gaps", "err", err)
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
				in.cfg.Logger.Warn("filling a gap failed; retrying later", "gap", g.ID, "host", g.Host, "from", g.From, "to", g.To, "err", err,
					"do", "nothing while the upstream's archive is behind; weft gaps lists the attempts")
			} else {
				in.cfg.Logger.Info("filled a gap", "gap", g.ID, "host", g.Host, "from", g.From, "to", g.To)
			}
			if err := in.cfg.Store.TriedGap(g.ID, err == nil, note); err != nil {
				return err
			}
		}
	}
	return nil
}

var errNoSource = errors.New("no upstream has an archive for it")

// fillGap fills a gap from whatever archive has it.
func (in *Ingest) fillGap(ctx context.Context, g *db.Gap) error {
	var errs []error
	for _, h := range in.hosts {
		speaks, err := h.Probe(ctx, true, 0)
		if err != nil || speaks.Kind != upstream.KindV2 {
			continue
		}
		bySeq := h.URL == g.Host && g.To < MinTimeCursor
		if !bySeq && (g.FromUS == 0 || g.ToUS == 0) {
			continue
		}
		for {
			more, err := in.fillFrom(ctx, h.Endpoint, g, bySeq)
			if err == nil && more {
				continue
			}
			if err == nil {
				return nil
			}
			errs = append(errs, fmt.Errorf("%s: %w", h.URL, err))
			break
		}
	}
	if len(errs) == 0 {
		return errNoSource
	}
	return errors.Join(errs...)
}

// fillFrom fills a gap from a host's archive; more says that it did so in part.
func (in *Ingest) fillFrom(ctx context.Context, e upstream.Endpoint, g *db.Gap, bySeq bool) (more bool, err error) {
	a := &upstream.Archive{Endpoint: e, Key: in.cfg.Key, Filter: in.cfg.Slice.filter(), Logger: in.cfg.Logger}
	f := newFilling(in, g, e)
	after := uint64(0)
	if bySeq {
		f.from, f.to = g.From, g.To
		after = g.From - 1
	} else if after, err = a.SeqBefore(ctx, f.fromUS); err != nil {
		return false, err
	}
	p, err := a.Plan(ctx, after, 0)
	if err != nil {
		return false, err
	}
	if bySeq && p.SealedTipSeq < g.To {
		return false, fmt.Errorf("the archive ends at %d, before the end of the gap", p.SealedTipSeq)
	}
	if f.at, f.atUS, err = readEvents(ctx, a, after, 0, f.event); err != nil {
		return false, err
	}
	if !bySeq {
		endUS, err := a.EndTime(ctx) // of all events: the slice's next one may be far away
		if err != nil {
			return false, err
		}
		if endUS < f.toUS {
			return false, fmt.Errorf("the archive ends at %s, before the end of the gap", time.UnixMicro(endUS).UTC().Format(time.RFC3339))
		}
	}
	if err := f.present(ctx, f.foldAccounts); err != nil {
		return false, err
	}
	if len(f.newest) > 0 {
		if _, _, err := readEvents(ctx, a, after, f.last, func(e *upstream.Event) error { return f.again(ctx, e) }); err != nil {
			return false, err
		}
	}
	if err := f.present(ctx, f.foldPortion); err != nil {
		return false, err
	}
	switch {
	case !f.cut:
		return false, nil
	case bySeq:
		g.From, g.FromUS = f.last+1, f.lastUS
		return true, in.cfg.Store.ShrinkGap(g.ID, g.From, g.FromUS)
	default: // by time, the clocks' slack is read again
		g.FromUS = f.lastUS + overlap.Microseconds()
		return true, in.cfg.Store.ShrinkGap(g.ID, max(g.From, uint64(f.lastUS)), g.FromUS)
	}
}

// readEvents gives the events of an archive behind after to do, up to before when that isn't 0, and says where it ends.
func readEvents(ctx context.Context, a *upstream.Archive, after, before uint64, do func(*upstream.Event) error) (through uint64, lastUS int64, err error) {
	last := before
	if before > 0 {
		before++ // a plan may leave out the event itself
	}
	var e upstream.Event
	through, err = a.Blocks(ctx, after, before, func(b *upstream.Block) error {
		if b.Err == nil {
			failed, err := error(nil), error(nil)
			give := func() error {
				return b.Rows(func(r *segment.Event) error {
					if r.Seq <= after || last > 0 && r.Seq > last || e.ReadRow(r) != nil {
						return nil // what can't be read is counted where it was read first, and a record without links
					}
					failed = do(&e)
					return failed
				})
			}
			err = upstream.Guard(a.Logger, give)
			if err != nil && failed == nil {
				if err = a.Refetch(ctx, b); err == nil {
					err = upstream.Guard(a.Logger, give)
				}
			}
			if failed != nil {
				return failed
			}
			b.Err = err
		}
		if b.Err != nil {
			return fmt.Errorf("%s: %w", b.Name(), b.Err)
		}
		lastUS = b.ToUS
		return nil
	})
	return through, lastUS, err
}
