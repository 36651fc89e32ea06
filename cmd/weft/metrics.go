package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
	"weft.dev/weft/db/replica"
)

// figure is a metric without labels that is read from a status of type S.
type figure[S any] struct {
	name, help string
	value      func(st *S) float64
	counter    bool // counter instead of gauge
}

// collector reads a status when the metrics are scraped.
type collector[S any] struct {
	read    func() (S, error)
	figures []figure[S]
	descs   []*prometheus.Desc
}

func newCollector[S any](read func() (S, error), figures ...figure[S]) *collector[S] {
	c := &collector[S]{read: read, figures: figures}
	for _, f := range figures {
		c.descs = append(c.descs, prometheus.NewDesc(f.name, f.help, nil, nil))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector[S]) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector[S]) Collect(ch chan<- prometheus.Metric) {
	st, err := c.read()
	for i, f := range c.figures {
		if err != nil {
			ch <- prometheus.NewInvalidMetric(c.descs[i], err)
			continue
		}
		kind := prometheus.GaugeValue
		if f.counter {
			kind = prometheus.CounterValue
		}
		ch <- prometheus.MustNewConstMetric(c.descs[i], kind, f.value(&st))
	}
}

// boolean returns 1 for true and 0 for false.
func boolean(v bool) float64 {
	if v {
		return 1
	}
	return 0
}

// newStoreMetrics returns metrics of the index.
func newStoreMetrics(store *db.Index) prometheus.Collector {
	type figures = figure[db.Stats]
	return newCollector(func() (db.Stats, error) { return store.Stats(context.Background()) },
		figures{name: "weft_actors", help: "Accounts seen, as source or target of links.",
			value: func(st *db.Stats) float64 { return float64(st.Actors) }},
		figures{name: "weft_links", help: "Links of active accounts.",
			value: func(st *db.Stats) float64 { return float64(st.Links) }},
		figures{name: "weft_records", help: "Records with links.",
			value: func(st *db.Stats) float64 { return float64(st.Records) }},
		figures{name: "weft_log_seq", help: "Newest row of the log.",
			value: func(st *db.Stats) float64 { return float64(st.LastSeq) }},
		figures{name: "weft_index_memory_bytes", help: "Memory used by the index.",
			value: func(st *db.Stats) float64 { return float64(st.Memory) }},
		figures{name: "weft_index_runs", help: "Sorted runs, in memory and in segments.",
			value: func(st *db.Stats) float64 { return float64(st.Runs) }},
		figures{name: "weft_segments", help: "Segment files.",
			value: func(st *db.Stats) float64 { return float64(st.Segments) }},
		figures{name: "weft_segment_bytes", help: "Size of the segment files.",
			value: func(st *db.Stats) float64 { return float64(st.SegmentBytes) }},
		figures{name: "weft_jobs", help: "Unfinished status changes of large accounts.",
			value: func(st *db.Stats) float64 { return float64(st.Jobs) }},
		figures{name: "weft_gaps", help: "Ranges of upstream events that are missing.",
			value: func(st *db.Stats) float64 { return float64(st.Gaps) }},
		figures{name: "weft_write_failed", help: "1 after an error stopped writing.",
			value: func(st *db.Stats) float64 { return boolean(st.Failed != "") }},
		figures{name: "weft_indexing_paused", help: "1 while indexing is paused for lack of disk space.",
			value: func(st *db.Stats) float64 { return boolean(st.Paused != "") }},
		figures{name: "weft_disk_free_bytes",
			help:  "Free space of the data directory's disk, or of --disk where that is less; 0 of 0: unknown.",
			value: func(*db.Stats) float64 { free, _ := store.Disk(); return float64(free) }},
		figures{name: "weft_disk_bytes", help: "Size of the data directory's disk, or --disk where that has less free space.",
			value: func(*db.Stats) float64 { _, total := store.Disk(); return float64(total) }},
	)
}

// retentionMetrics reads the horizons when that is asked for.
type retentionMetrics struct {
	store   *db.Index
	horizon *prometheus.Desc
}

func newRetentionMetrics(store *db.Index) *retentionMetrics {
	return &retentionMetrics{store, prometheus.NewDesc("weft_index_horizon_timestamp_seconds",
		"Time from which on the index has the links of a rule of --keep; 0: all.", []string{"rule"}, nil)}
}

// Describe implements prometheus.Collector.
func (m *retentionMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- m.horizon }

// Collect implements prometheus.Collector.
func (m *retentionMetrics) Collect(ch chan<- prometheus.Metric) {
	for _, st := range m.store.Retention() {
		ch <- prometheus.MustNewConstMetric(m.horizon, prometheus.GaugeValue, float64(st.HorizonUS)/1e6,
			st.Pattern+"="+st.KeepText())
	}
}

// newRespelling returns a metric that is 1 during the rewrite of links that an older weft normalised differently.
func newRespelling(store *db.Store) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weft_respelling", Help: "1 while links that an older weft normalised differently are being rewritten.",
	}, func() float64 { return boolean(store.Respelling()) })
}

// newWriterMetrics returns metrics of the health of the writer. degraded returns its faults; empty: none.
func newWriterMetrics(store *db.Store, degraded func() string) []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weft_commit_wait_seconds",
			Help: "How long events have waited for a commit: since the last commit or since they arrived. 0 while none wait.",
		}, func() float64 { return store.Waiting().Seconds() }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weft_degraded",
			Help: "1 while weft answers and something needs a look; /readyz and /status name it.",
		}, func() float64 { return boolean(degraded() != "") }),
	}
}

// checkpointMetrics collects the outcomes of the store's checkpoints.
type checkpointMetrics struct {
	store                       *db.Store
	total, frames, seconds, wal *prometheus.Desc
}

func newCheckpointMetrics(store *db.Store) *checkpointMetrics {
	return &checkpointMetrics{
		store: store,
		total: prometheus.NewDesc("weft_checkpoints_total",
			"Checkpoints by outcome; partial: postponed, because a reader or a replicator held the WAL.", []string{"outcome"},
			nil),
		frames: prometheus.NewDesc("weft_checkpoint_frames_total", "Frames moved from the WAL into the database.", nil, nil),
		seconds: prometheus.NewDesc("weft_checkpoint_seconds",
			"Duration of checkpoints; writes wait meanwhile.", nil, nil),
		wal: prometheus.NewDesc("weft_wal_bytes", "Size of the WAL.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *checkpointMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.total, m.frames, m.seconds, m.wal} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *checkpointMetrics) Collect(ch chan<- prometheus.Metric) {
	st := m.store.CheckpointStats()
	for outcome, n := range map[string]int64{"complete": st.Complete, "partial": st.Partial, "failed": st.Failed} {
		ch <- prometheus.MustNewConstMetric(m.total, prometheus.CounterValue, float64(n), outcome)
	}
	ch <- prometheus.MustNewConstMetric(m.frames, prometheus.CounterValue, float64(st.Frames))
	ch <- prometheus.MustNewConstSummary(m.seconds, uint64(st.Complete+st.Partial+st.Failed), st.Duration.Seconds(), nil)
	ch <- prometheus.MustNewConstMetric(m.wal, prometheus.GaugeValue, float64(st.WALBytes))
}

// newReplicaMetrics returns metrics of the progress of the replica.
func newReplicaMetrics(r *replica.Replicator) prometheus.Collector {
	type figures = figure[wire.Replication]
	return newCollector(func() (wire.Replication, error) { return r.Status(), nil },
		figures{name: "weft_replica_local_txid", help: "Newest transaction on this disk.",
			value: func(st *wire.Replication) float64 { return float64(st.LocalTXID) }},
		figures{name: "weft_replica_txid", help: "Newest transaction in the replica; 0: unknown.",
			value: func(st *wire.Replication) float64 { return float64(st.ReplicaTXID) }},
		figures{name: "weft_replica_lag_transactions", help: "Transactions on this disk that the replica lacks.",
			value: func(st *wire.Replication) float64 { return float64(st.LagTransactions) }},
		figures{name: "weft_replica_lag_bytes", help: "Bytes on this disk that the replica lacks, including segments.",
			value: func(st *wire.Replication) float64 { return float64(st.LagBytes) }},
		figures{name: "weft_replica_lag_seconds", help: "Age of the oldest commit that the replica may lack.",
			value: func(st *wire.Replication) float64 { return st.LagSeconds }},
		figures{name: "weft_replica_durable_log_seq", help: "Newest row of the log in the replica; 0: unknown.",
			value: func(st *wire.Replication) float64 { return float64(st.DurableLogSeq) }},
		figures{name: "weft_replica_segments_waiting", help: "Segments that the replica lacks.",
			value: func(st *wire.Replication) float64 { return float64(st.SegmentsWaiting) }},
		figures{name: "weft_replica_segments_waiting_bytes", help: "Bytes of the segments that the replica lacks.",
			value: func(st *wire.Replication) float64 { return float64(st.SegmentsWaitingBytes) }},
		figures{name: "weft_replica_uploaded_bytes_total",
			help: "Bytes sent to the replica since the start, including failed uploads.", counter: true,
			value: func(st *wire.Replication) float64 { return float64(st.UploadedBytes) }},
		figures{name: "weft_replica_failures", help: "Consecutive failed attempts; 0: the last attempt succeeded.",
			value: func(st *wire.Replication) float64 { return float64(st.Failures) }},
	)
}
