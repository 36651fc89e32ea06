package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
	"weft.dev/weft/db/checkpoint"
	"weft.dev/weft/db/dirlock"
	"weft.dev/weft/db/replica"
	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/restore"
	"weft.dev/weft/humanize"
)

// replicateFlags are serve's flags about its replica.
func replicateFlags() []cli.Flag {
	return variables("WEFT_",
		&cli.StringFlag{
			Name: "replicate",
			Usage: "replicate as this litestream.yml (`FILE`) says; 'off': no replication, or by stock Litestream; default: " +
				"the litestream.yml in the data directory, if any",
		},
		&cli.DurationFlag{
			Name: "replica-alarm", Value: 5 * time.Minute,
			Usage: "report degraded in /readyz when the replica is this far behind (0: never)",
		},
		&cli.DurationFlag{
			Name:  "verify-every",
			Usage: "test-restore the replica into a scratch directory at this interval, e.g. 24h (0: never)",
		},
	)
}

// replicateOff is the value of --replicate that turns replication off.
const replicateOff = "off"

// replicationOf reads the configuration of serve's replica; nil: no replica.
func replicationOf(cmd *cli.Command) (*config.Config, error) {
	for _, name := range []string{"replica-alarm", "verify-every"} {
		if cmd.Duration(name) < 0 {
			return nil, &usageError{fmt.Errorf("--%s must be 0 or a duration such as 1h", name)}
		}
	}
	file := cmd.String("replicate")
	if file == replicateOff {
		return nil, nil
	}
	beside := filepath.Join(cmd.String("data"), "litestream.yml")
	c, err := config.Read(cmp.Or(file, beside))
	if file == "" && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &usageError{fmt.Errorf("--replicate: %w", err)}
	}
	if err := c.CheckDir(cmd.String("data")); err != nil {
		return nil, &usageError{fmt.Errorf("--replicate: %w", err)}
	}
	return &c, nil
}

// replication is serve's replica with its verifier and its alarm. A nil replication does nothing.
type replication struct {
	cfg        config.Config
	alarm      time.Duration
	logger     *slog.Logger
	replicator *replica.Replicator
	progress   func() wire.Replication // the replicator's
	verifier   *restore.Verifier       // nil: none
}

// prepareReplica connects to the replica before the database is opened. It restores the replica into an empty
// directory. The result is nil without a replica.
func (w *writer) prepareReplica(ctx context.Context, d *daemon) (*replication, error) {
	if w.replica == nil {
		w.logger.Info("replication is off", "do", "to replicate, start weft with --replicate litestream.yml")
		return nil, nil
	}
	r := &replication{cfg: *w.replica, alarm: w.replicaAlarm, logger: w.logger}
	w.logger.Info("replica configured; waiting for its answer and its lease", "config", r.cfg.File, "replica",
		r.cfg.Where())
	d.opening.report("waiting for the replica's answer and its lease")
	r.replicator = replica.New(replica.ReplicatorConfig{
		Replica: r.cfg, Dir: w.db.Dir, Pacer: w.db.Pacer, Logger: w.logger,
		Restore: func(ctx context.Context, lock *dirlock.Lock) error { return w.restore(ctx, d.opening, r.cfg, lock) },
	})
	r.progress = r.replicator.Status
	err := r.replicator.Prepare(ctx)
	if err != nil {
		return nil, err
	}
	d.registry.MustRegister(newReplicaMetrics(r.replicator))
	if w.verifyEvery > 0 {
		r.verifier = restore.NewVerifier(restore.VerifierConfig{
			Source: r.cfg, Every: w.verifyEvery, Scratch: w.db.Scratch, Reached: r.replicator.Reached,
			Pacer:  w.db.Pacer,
			Logger: w.logger, Metrics: d.registry,
		})
	}
	return r, nil
}

// restore restores the replica into the data directory, and reports progress on the terminal and to queries.
func (w *writer) restore(ctx context.Context, o *opening, c config.Config, lock *dirlock.Lock) error {
	bar := newTransfer(cmp.Or[io.Writer](w.progress, io.Discard))
	began := time.Now()
	done, err := restore.Restore(ctx, c, w.db.Dir, restore.Options{Lock: lock, Progress: func(p restore.Progress) {
		bar.tick(p)
		o.report(fmt.Sprintf("restoring from the replica, %s of %s", humanize.Bytes(p.Done), humanize.Bytes(p.All)))
	}})
	bar.end()
	if err != nil {
		return err
	}
	w.logger.Info("restored", "txid", uint64(done.TXID), "log_seq", done.LastSeq, "segments", done.Segments,
		"bytes_read", done.Read, "duration", time.Since(began).Round(time.Millisecond))
	return nil
}

// configure changes a store's configuration for replication. Litestream then owns the checkpoints. Unless --checkpoint
// is set, the store warns of a WAL twenty times as long as one that Litestream checkpoints.
func (r *replication) configure(c *db.Config, rule bool) error {
	c.Replicator = true
	c.Lock = r.replicator.DirLock()
	c.OnSegment = r.replicator.OnSegment
	c.Fetch = r.replicator.Fetch
	if rule {
		return nil
	}
	var err error
	c.Checkpoint, err = checkpoint.Parse(fmt.Sprintf("%d frames", 20*cmp.Or(r.cfg.MinCheckpointPages, 1000)))
	return err
}

// close closes the store and the replicator in the order that spares the next start a copy of the whole database.
func (r *replication) close(store *db.Store) error {
	if r == nil {
		return store.Close()
	}
	r.replicator.Release()
	return errors.Join(store.Close(), r.replicator.Close())
}

// run replicates until ctx ends.
func (r *replication) run(ctx context.Context) {
	_ = r.replicator.Run(ctx) // it logged its error at the start
}

func (r *replication) status() *wire.Replication {
	st := r.replicator.Status()
	if r.verifier != nil {
		st.Verification = r.verifier.Last()
	}
	return &st
}

// degraded returns the reason why commits are missing in the replica for too long; empty: they are not.
func (r *replication) degraded() string {
	if r == nil || r.alarm == 0 {
		return ""
	}
	st := r.progress()
	if st.LagSeconds <= r.alarm.Seconds() {
		return ""
	}
	return fmt.Sprintf("the replica %s is %s behind: %s", st.Replica, humanize.Seconds(st.LagSeconds),
		cmp.Or(st.Reason, "uploads are slower than new data"))
}

// degradedEvery is the interval between two checks of the alarm.
const degradedEvery = 10 * time.Second

// watch logs when the replica falls too far behind and when it has caught up, until ctx ends.
func (r *replication) watch(ctx context.Context) {
	ticker := time.NewTicker(degradedEvery)
	defer ticker.Stop()
	for was := false; ; was = r.logChange(was) {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// logChange logs a change of degraded, and returns whether it is degraded.
func (r *replication) logChange(was bool) bool {
	why := r.degraded()
	switch {
	case why != "" && !was:
		r.logger.Warn("replica is too far behind; /readyz reports degraded", "err", why, "alarm", r.alarm, "do",
			cmp.Or(r.progress().Do, "wait for the uploads, or give them more bandwidth; new data is safe on this disk"))
	case why == "" && was:
		r.logger.Info("replica caught up; /readyz no longer reports degraded")
	}
	return why != ""
}

// flush uploads the rest within the time that litestream.yml sets.
func (r *replication) flush(ctx context.Context) error {
	timeout := cmp.Or(r.cfg.ShutdownTimeout, defaultFlush)
	r.logger.Info("uploading the rest to the replica", "timeout", timeout)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	began := time.Now()
	err := r.replicator.Flush(ctx)
	var behind *replica.BehindError
	switch {
	case errors.As(err, &behind):
		r.logger.Error("replica is incomplete", "err", err, "do", "start weft again on this disk: it uploads the rest")
		return &exitError{exitNotReplicated, err}
	case err != nil:
		return err
	}
	st := r.replicator.Status()
	r.logger.Info("replica is complete", "txid", st.ReplicaTXID, "log_seq", st.DurableLogSeq, "duration",
		time.Since(began).Round(time.Millisecond))
	return nil
}

// defaultFlush is Litestream's default.
const defaultFlush = 30 * time.Second

// exitNotReplicated is serve's exit code when it ended in order, but the replica is incomplete.
const exitNotReplicated = 3
