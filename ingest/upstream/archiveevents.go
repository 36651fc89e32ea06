package upstream

import (
	"context"
	"fmt"

	"github.com/bluesky-social/jetstream/segment"
)

// Events calls do with the archive's events after the sequence number after, up to last unless it is 0, in order. An
// event is valid until do returns. Events ends with do's error, or at a block that can't be read after it was fetched
// twice. It returns the sequence number and the time, in microseconds since 1970, up to which do has received all
// events.
func (a *Archive) Events(
	ctx context.Context, after, last uint64, do func(*Event) error,
) (through uint64, throughUS int64, err error) {
	before := last
	if last > 0 {
		before++ // a plan may leave out the event itself
	}
	through, err = a.Blocks(ctx, after, before, func(b *Block) error {
		r := blockEvents{archive: a, block: b, after: after, last: last, do: do}
		err := r.read(ctx)
		if err != nil {
			return err
		}
		throughUS = b.ToUS
		return nil
	})
	return through, throughUS, err
}

// blockEvents reads the events of one block.
type blockEvents struct {
	archive     *Archive
	block       *Block
	after, last uint64
	do          func(*Event) error
	stopped     error // do's
}

// read calls do with the block's events. It fetches a block that can't be decoded once more.
func (r *blockEvents) read(ctx context.Context) error {
	err := r.block.Err
	if err == nil {
		err = r.decode()
		if err != nil && r.stopped == nil {
			err = r.archive.Refetch(ctx, r.block)
			if err == nil {
				err = r.decode()
			}
		}
	}
	if r.stopped != nil {
		return r.stopped
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.block.Name(), err)
	}
	return nil
}

// decode calls do with the rows. It skips unreadable rows: ingest counted them when it read them.
func (r *blockEvents) decode() error {
	var e Event
	return Guard(r.archive.Logger, func() error {
		return r.block.Rows(func(row *segment.Event) error {
			if row.Seq <= r.after || r.last > 0 && row.Seq > r.last || e.ReadRow(row) != nil {
				return nil
			}
			r.stopped = r.do(&e)
			return r.stopped
		})
	})
}
