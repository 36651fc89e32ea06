package replica

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"weft.dev/weft/db/checkpoint"
)

const (
	// watchEvery is the interval between two looks at the WAL. A backfill writes some megabytes in it.
	watchEvery = time.Second
	// A cut also checkpoints, so without one the WAL grows: by 4 MB a second in a backfill, and by 0.3 MB with 1,000 live
	// events a second (wal_bytes of /status in go run ./bench/machine --live 100s --s3). So the replicator cuts early when
	// the WAL has grown by earlyCut times the pages from which on Litestream checkpoints: by 16 MB with litestream.yml's
	// 1,000 pages. 1,000 live events a second stay below that for its 30 s, so that they cost no additional upload.
	earlyCut = 4
)

// watchWAL asks for a cut whenever the WAL has grown much since the last one, until ctx ends.
func (r *Replicator) watchWAL(ctx context.Context) {
	if r.cfg.Replica.SyncInterval <= watchEvery {
		return // cuts are not later
	}
	limit := int64(earlyCut*r.local.MinCheckpointPageN) * checkpoint.FrameBytes
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if r.index.WALBytes()-r.cutBytes.Load() < limit {
			continue
		}
		select {
		case r.cutNow <- struct{}{}:
		default:
		}
	}
}

// cut writes the transactions since the last cut into a new LTX file on this disk.
func (r *Replicator) cut(ctx context.Context) error {
	r.mu.Lock()
	checked := r.state.checked
	r.mu.Unlock()
	if !checked {
		if err := r.check(ctx, localState{r.index.Instance(), r.index.Seq()}, true); err != nil {
			return err
		}
	}
	// All rows up to this one are committed, and so the LTX file has them.
	seq := r.index.Seq()
	now := r.cfg.Now()
	if err := r.syncLocal(ctx); err != nil {
		return fmt.Errorf("replica: cut: %w", err)
	}
	pos, err := r.local.Pos()
	if err != nil {
		return fmt.Errorf("replica: cut: %w", err)
	}
	r.noteCut(pos.TXID, seq, now)
	r.began.Do(func() { close(r.begun) })
	return nil
}

// syncLocal makes Litestream copy the committed transactions into its next file, and checkpoint the WAL. Litestream
// opens the database at its first sync. If that sync is interrupted at once, Litestream keeps a database without a file
// handle, and each later sync fails with os.ErrInvalid. syncLocal then opens the database again.
func (r *Replicator) syncLocal(ctx context.Context) error {
	r.cutBytes.Store(r.index.WALBytes())
	err := r.local.Sync(ctx)
	if !errors.Is(err, os.ErrInvalid) {
		return err
	}
	ended, cancel := context.WithCancel(ctx)
	cancel() // Close would first try to sync and to upload, and can do neither
	_ = r.local.Close(ended)
	if err := r.local.Open(); err != nil {
		return err
	}
	return r.local.Sync(ctx)
}
