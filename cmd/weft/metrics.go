package main

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"weft.dev/weft/db"
)

// storeMetrics reads the store's figures when they are asked for.
type storeMetrics struct {
	store *db.Store
	descs map[string]*prometheus.Desc
}

func newStoreMetrics(store *db.Store) *storeMetrics {
	m := &storeMetrics{store: store, descs: map[string]*prometheus.Desc{}}
	for name, help := range map[string]string{
		"weft_actors":             "Accounts ever seen, linking or linked.",
		"weft_links":              "Links of active accounts.",
		"weft_records":            "Records that link to something.",
		"weft_log_seq":            "Newest row of the log.",
		"weft_index_memory_bytes": "Memory that the index takes.",
		"weft_index_runs":         "Sorted runs, those in segments too.",
		"weft_segments":           "Segment files.",
		"weft_segment_bytes":      "Size of the segment files.",
		"weft_jobs":               "Changes of status of large accounts that are under way.",
		"weft_gaps":               "Spans of upstream that are missing.",
		"weft_write_failed":       "1 after a fault stopped writing.",
	} {
		m.descs[name] = prometheus.NewDesc(name, help, nil, nil)
	}
	return m
}

// Describe implements prometheus.Collector.
func (m *storeMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *storeMetrics) Collect(ch chan<- prometheus.Metric) {
	st, err := m.store.Stats(context.Background())
	if err != nil {
		for _, d := range m.descs {
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
		ch <- prometheus.MustNewConstMetric(m.descs[name], prometheus.GaugeValue, v)
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
			"Checkpoints by outcome; partial: put off, because a reader or a replicator held the WAL.", []string{"outcome"}, nil),
		frames: prometheus.NewDesc("weft_checkpoint_frames_total", "Frames moved from the WAL into the database.", nil, nil),
		seconds: prometheus.NewDesc("weft_checkpoint_seconds",
			"Time that checkpoints took, in which nothing is written.", nil, nil),
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
