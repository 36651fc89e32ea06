package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"weft.dev/weft/db"
	"weft.dev/weft/db/replica"
)

// figures describes metrics without labels, by name.
type figures map[string]*prometheus.Desc

func newFigures(help map[string]string) figures {
	f := make(figures, len(help))
	for name, text := range help {
		f[name] = prometheus.NewDesc(name, text, nil, nil)
	}
	return f
}

// Describe implements prometheus.Collector.
func (f figures) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range f {
		ch <- d
	}
}

// storeMetrics reads the store's figures when they are asked for.
type storeMetrics struct {
	store *db.Index
	figures
}

func newStoreMetrics(store *db.Index) *storeMetrics {
	return &storeMetrics{store, newFigures(map[string]string{
		"weft_actors":             "Accounts seen, as source or target of links.",
		"weft_links":              "Links of active accounts.",
		"weft_records":            "Records with links.",
		"weft_log_seq":            "Newest row of the log.",
		"weft_index_memory_bytes": "Memory used by the index.",
		"weft_index_runs":         "Sorted runs, in memory and in segments.",
		"weft_segments":           "Segment files.",
		"weft_segment_bytes":      "Size of the segment files.",
		"weft_jobs":               "Unfinished status changes of large accounts.",
		"weft_gaps":               "Ranges of upstream events that are missing.",
		"weft_write_failed":       "1 after an error stopped writing.",
	})}
}

// Collect implements prometheus.Collector.
func (m *storeMetrics) Collect(ch chan<- prometheus.Metric) {
	st, err := m.store.Stats(context.Background())
	if err != nil {
		for _, d := range m.figures {
			ch <- prometheus.NewInvalidMetric(d, err)
		}
		return
	}
	failed := 0.0
	if st.Failed != "" {
		failed = 1
	}
	for name, v := range map[string]float64{
		"weft_actors": float64(st.Actors), "weft_links": float64(st.Links), "weft_records": float64(st.Records),
		"weft_log_seq": float64(st.LastSeq), "weft_index_memory_bytes": float64(st.Memory), "weft_index_runs": float64(st.Runs),
		"weft_segments": float64(st.Segments), "weft_segment_bytes": float64(st.SegmentBytes), "weft_jobs": float64(st.Jobs),
		"weft_gaps": float64(st.Gaps), "weft_write_failed": failed,
	} {
		ch <- prometheus.MustNewConstMetric(m.figures[name], prometheus.GaugeValue, v)
	}
}

// newRespelling says whether links that an older weft spelled otherwise are being rewritten.
func newRespelling(store *db.Store) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "weft_respelling", Help: "1 while links that an older weft normalised differently are being rewritten.",
	}, func() float64 {
		if store.Respelling() {
			return 1
		}
		return 0
	})
}

// newWriterMetrics are of how well the writer is.
func newWriterMetrics(store *db.Store) []prometheus.Collector {
	return []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weft_commit_wait_seconds",
			Help: "How long events have waited for a commit: since the last commit or since they arrived. 0 while none wait.",
		}, func() float64 { return store.Waiting().Seconds() }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "weft_degraded",
			Help: "1 while weft works with a fault; /readyz and /status name the fault.",
		}, func() float64 {
			if store.Degraded() == "" {
				return 0
			}
			return 1
		}),
	}
}

// checkpointMetrics reads what became of the store's checkpoints when that is asked for.
type checkpointMetrics struct {
	store                       *db.Store
	total, frames, seconds, wal *prometheus.Desc
}

func newCheckpointMetrics(store *db.Store) *checkpointMetrics {
	return &checkpointMetrics{
		store: store,
		total: prometheus.NewDesc("weft_checkpoints_total",
			"Checkpoints by outcome; partial: postponed, because a reader or a replicator held the WAL.", []string{"outcome"}, nil),
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

// replicaMetrics reads how far the replica is when that is asked for.
type replicaMetrics struct {
	replicator *replica.Replicator
	figures
}

func newReplicaMetrics(r *replica.Replicator) *replicaMetrics {
	return &replicaMetrics{r, newFigures(map[string]string{
		"weft_replica_local_txid":             "Newest transaction on this disk.",
		"weft_replica_txid":                   "Newest transaction in the replica; 0: unknown.",
		"weft_replica_lag_transactions":       "Transactions on this disk that the replica lacks.",
		"weft_replica_lag_bytes":              "Bytes on this disk that the replica lacks, including segments.",
		"weft_replica_lag_seconds":            "Age of the oldest commit that the replica may lack.",
		"weft_replica_durable_log_seq":        "Newest row of the log in the replica; 0: unknown.",
		"weft_replica_segments_waiting":       "Segments that the replica lacks.",
		"weft_replica_segments_waiting_bytes": "Bytes of the segments that the replica lacks.",
		"weft_replica_uploaded_bytes_total":   "Bytes sent to the replica since the start, including failed uploads.",
		"weft_replica_failures":               "Consecutive failed attempts; 0: the last attempt succeeded.",
	})}
}

// Collect implements prometheus.Collector.
func (m *replicaMetrics) Collect(ch chan<- prometheus.Metric) {
	st := m.replicator.Status()
	for name, v := range map[string]float64{
		"weft_replica_local_txid": float64(st.LocalTXID), "weft_replica_txid": float64(st.ReplicaTXID),
		"weft_replica_lag_transactions": float64(st.LagTransactions), "weft_replica_lag_bytes": float64(st.LagBytes),
		"weft_replica_lag_seconds": st.LagSeconds, "weft_replica_durable_log_seq": float64(st.DurableLogSeq),
		"weft_replica_segments_waiting": float64(st.SegmentsWaiting), "weft_replica_segments_waiting_bytes": float64(st.SegmentsWaitingBytes),
		"weft_replica_failures": float64(st.Failures),
	} {
		ch <- prometheus.MustNewConstMetric(m.figures[name], prometheus.GaugeValue, v)
	}
	ch <- prometheus.MustNewConstMetric(m.figures["weft_replica_uploaded_bytes_total"], prometheus.CounterValue, float64(st.UploadedBytes))
}
