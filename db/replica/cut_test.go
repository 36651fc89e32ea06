package replica

import (
	"errors"
	"testing"
	"time"

	"weft.dev/weft/db/checkpoint"
)

// TestEarlyCut: with an hour between cuts, a backfill is cut and the WAL is checkpointed each time that it has grown
// much, so that it does not grow with the backfill; behind a fence too.
func TestEarlyCut(t *testing.T) {
	t.Parallel()
	cfg := liveConfig(t)
	cfg.SyncInterval = time.Hour
	cfg.MinCheckpointPages = 10
	const limit = earlyCut * 10 * checkpoint.FrameBytes
	p := mustBegin(t, cfg, 0, mustEvents(t, 1, 20_000))
	cuts := func() uint64 { return p.rep.Status().LocalTXID }
	eventually(t, "the first cut", func() bool { return cuts() > 0 })
	grow := func() (written int64) {
		t.Helper()
		from := p.store.WALBytes()
		for p.store.WALBytes()-from < limit {
			must(t, p.feed(50))
		}
		return p.store.WALBytes() - from
	}
	begun := p.store.CheckpointStats().WALBytes // the schema is larger than a round
	most := int64(0)
	for range 3 {
		before := cuts()
		most = max(most, grow())
		eventually(t, "a cut long before its time", func() bool { return cuts() > before })
	}
	// A round ends with a checkpoint, which empties the WAL but for what Litestream itself writes.
	if wal := p.store.CheckpointStats().WALBytes; wal > max(begun, 2*most) {
		t.Errorf("the WAL has %d bytes after rounds of at most %d, and had %d before", wal, most, begun)
	}
	p.rep.raiseFence(&WriterError{})
	before, err := p.rep.local.Pos()
	must(t, err)
	grow()
	eventually(t, "a checkpoint behind the fence", func() bool {
		pos, err := p.rep.local.Pos()
		return err == nil && pos.TXID > before.TXID
	})
	p.stop()
	if err := <-p.ran; !fenced(err) {
		t.Errorf("behind the fence it ran until: %v", err)
	}
	must(t, errors.Join(p.store.Close(), p.rep.Close()))
}
