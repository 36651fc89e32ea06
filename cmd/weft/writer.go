package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"weft.dev/weft/api"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/upstream"
)

// writerConfig configures a writer. Only jetstream and db.Dir are required.
type writerConfig struct {
	jetstream     []upstream.Endpoint // upstreams in order of preference
	jetstreamKey  string              // key of the archive; "": none
	from          ingest.From
	db            db.Config
	checkpointSet bool // --checkpoint is set, so that a replica does not change the rule

	slice    ingest.SliceConfig
	filter   *ingest.Slice // filter of the slice; nil: everything
	change   sliceChange
	files    sliceFiles // files of the slice
	yes      bool       // start a large backfill
	yesAbove int64      // size of a large backfill in bytes; 0: the constant yesAbove
	progress io.Writer  // for progress bars; nil: none

	replica      *config.Config // nil: none
	replicaAlarm time.Duration  // /readyz reports degraded when the replica is further behind; 0: never
	verifyEvery  time.Duration  // 0: never
}

// writer is the indexer of serve and demo: it follows an upstream and writes the index.
type writer struct {
	writerConfig
	logger      *slog.Logger
	store       *db.Store    // nil before open
	replication *replication // nil: none
	ingest      *ingest.Ingest
	sliceState  atomic.Pointer[ingest.SliceState] // nil before applySlice

	control     *control // nil: none
	stopIngest  context.CancelFunc
	ingested    <-chan struct{}
	stopReplica context.CancelFunc
	replicated  <-chan struct{}
}

// open restores the replica if the directory is empty, opens the index, applies the slice and checks the backfill.
func (w *writer) open(ctx context.Context, d *daemon) error {
	w.logger = d.logger
	w.db.Pacer = &disk.Pacer{}
	w.logger.Info("opening the data directory", "dir", w.db.Dir, "version", buildVersion())
	err := w.openIndex(ctx, d)
	if err != nil {
		return err
	}
	if w.replication != nil {
		err := w.replication.replicator.Open(ctx, w.store)
		if err != nil {
			return err
		}
	}
	d.registry.MustRegister(newStoreMetrics(&w.store.Index), newCheckpointMetrics(w.store),
		newRetentionMetrics(&w.store.Index), newRespelling(w.store))
	err = w.applySlice(ctx)
	if err != nil {
		return err
	}
	d.opening.report("waiting for an upstream to list its archive")
	err = w.planBackfill(ctx)
	if err != nil {
		return err
	}
	w.ingest = ingest.New(ingest.Config{
		Hosts: w.jetstream, Key: w.jetstreamKey, From: w.from, Store: w.store, Logger: w.logger, Metrics: d.registry,
		Bodies: w.db.Bodies != db.BodiesOff, Slice: w.filter,
	})
	d.registry.MustRegister(newWriterMetrics(w.store, w.degraded)...)
	return nil
}

// openIndex prepares the replica and opens the store. Both may take minutes.
func (w *writer) openIndex(ctx context.Context, d *daemon) error {
	var err error
	w.replication, err = w.prepareReplica(ctx, d)
	if err != nil {
		return err
	}
	c := w.db
	c.Logger = w.logger
	c.Progress = d.opening.progress
	if w.replication != nil {
		err := w.replication.configure(&c, w.checkpointSet)
		if err != nil {
			return err
		}
	}
	d.opening.report("opening weft.db")
	store, err := db.OpenContext(ctx, c)
	if err != nil && w.replication != nil {
		err = errors.Join(err, w.replication.replicator.Close()) // releases the lease
	}
	if err != nil {
		return err
	}
	w.store = store
	return nil
}

// topFile is the file in a data directory that keeps the counts of getTop.
const topFile = "top.counts"

func (w *writer) configure(c *api.Config) {
	c.Store = w.store
	c.InstanceID = w.store.Instance()
	c.TopFile = filepath.Join(w.db.Dir, topFile)
	c.Current = w.current
	c.Upstream = w.upstream
	c.Degraded = w.degraded
	c.Activity = func() api.Activity { return api.Activity{Events: w.ingest.Received(), Lag: w.ingest.Lag()} }
	if w.replication != nil {
		c.Replication = w.replication.status
	}
}

func (w *writer) handler(next http.Handler) http.Handler { return next }

// start starts ingest and the replica. Both outlive the context of g until stop ends them in order.
func (w *writer) start(g *group) {
	background := context.WithoutCancel(g.ctx)
	w.control = startControl(w.db.Dir, w.store, w.logger)
	ingestCtx, stopIngest := context.WithCancel(background)
	w.stopIngest = stopIngest
	if w.progress != nil {
		p := &backfillProgress{w: w.progress, terminal: isTerminal(w.progress), backfill: w.ingest.Progress, logger: w.logger}
		g.start("progress", func() error {
			p.run(ingestCtx)
			return nil
		})
	}
	w.ingested = g.start("ingest", func() error {
		err := w.runIngest(ingestCtx)
		if err != nil {
			// The store accepts no more writes. Queries still work, and /readyz has the reason as degraded.
			w.logger.Error("writing has stopped; queries still work", "err", err,
				"do", "fix the cause of the error and restart weft")
		}
		return nil
	})
	replicaCtx, stopReplica := context.WithCancel(background)
	w.stopReplica = stopReplica
	r := w.replication
	if r == nil {
		return
	}
	w.replicated = g.start("replica", func() error {
		r.run(replicaCtx)
		return nil
	})
	g.start("replica alarm", func() error {
		r.watch(replicaCtx)
		return nil
	})
	if r.verifier != nil {
		g.start("verify", func() error { return r.verifier.Run(replicaCtx) })
	}
}

// stop stops ingest, commits what it received, and uploads the rest to the replica.
func (w *writer) stop(ctx context.Context) error {
	w.logger.Info("stopping ingest; waiting for the commit of the events received")
	w.stopIngest()
	w.store.Hurry()
	<-w.ingested
	seq := w.store.Cursor(w.ingest.Host())
	failed := w.store.Failed()
	unsaved := failed
	if paused := w.store.Paused(); failed == nil && paused != "" {
		unsaved = errors.New(paused)
	}
	if unsaved != nil {
		w.logger.Warn("events received since the last commit are discarded; the next start reads them again from the "+
			"upstream", "seq", seq, "err", unsaved)
	} else {
		w.logger.Info("all received events are committed", "seq", seq)
	}
	w.stopReplica()
	if w.replication == nil {
		return nil
	}
	<-w.replicated
	return w.replication.flush(ctx)
}

func (w *writer) close() error {
	if w.store == nil {
		return nil
	}
	w.control.stop()
	w.checkpoint()
	w.logger.Info("closing the database")
	return w.replication.close(w.store)
}

// checkpoint empties the WAL. It waits for close, because a query under way would hold the WAL.
func (w *writer) checkpoint() {
	switch {
	case w.store.Failed() != nil: // nothing is written any more
	case w.replication != nil, w.db.Checkpoint.Off():
		w.logger.Info("skipping the checkpoint: the replicator does it")
	default:
		w.logger.Info("checkpointing")
		err := w.store.Checkpoint()
		if err != nil {
			w.logger.Warn("checkpoint failed; the next start does it", "err", err)
		}
	}
}

func (w *writer) upstream() *wire.Upstream {
	up := w.ingest.Status()
	s := w.sliceState.Load()
	up.Slice = describeSlice(s.Slice)
	up.Parts = s.Parts
	up.Subjects = s.Groups()
	return &up
}

// degraded returns the faults of a writer whose queries are answered, or "".
func (w *writer) degraded() string {
	reasons := []string{w.store.Degraded(), w.replication.degraded()}
	// A pause is the reason of being behind, and the store has named it. It does not explain a fault.
	err := w.current(behindAfter)
	if err != nil && (w.store.Paused() == "" || w.store.Failed() != nil) {
		reasons = append([]string{err.Error()}, reasons...)
	}
	return strings.Join(slices.DeleteFunc(reasons, func(reason string) bool { return reason == "" }), "; ")
}

// current returns nil while the index is at most maxLag behind the network, else the reason.
func (w *writer) current(maxLag time.Duration) error {
	failed := w.store.Failed()
	if failed != nil {
		return failed
	}
	return w.ingest.Current(maxLag)
}
