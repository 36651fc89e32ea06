package ingest

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/ingest/extract"
	"weft.dev/weft/ingest/upstream"
)

// metrics are the counters and gauges of ingest.
type metrics struct {
	events     prometheus.Counter
	applied    *prometheus.CounterVec
	dropped    *prometheus.CounterVec
	malformed  prometheus.Counter
	commits    prometheus.Histogram
	sessions   *prometheus.CounterVec
	unreadable prometheus.Counter
	lost       prometheus.Counter
	switches   prometheus.Counter
	gaps       prometheus.Counter
	unknown    prometheus.Counter
	filled     prometheus.Counter

	in *Ingest
}

// newMetrics registers the metrics, unless reg is nil.
func newMetrics(reg prometheus.Registerer, in *Ingest) *metrics {
	auto := promauto.With(reg)
	counter := func(name, help string) prometheus.Counter {
		return auto.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return auto.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		in:     in,
		events: counter("weft_ingest_events_total", "Events received from upstream and committed, including ignored ones."),
		applied: vec("weft_ingest_applied_total", "Outcomes of events: log rows, links added and removed, stale repeats, "+
			"log rows of events that arrived late from another host after a loss, records of deleted accounts, "+
			"invalid events, bodies stored, bodies skipped (CID mismatch, too large, or not convertible from JSON).", "what"),
		dropped:   vec("weft_ingest_dropped_total", "Parts of records without a usable link, by reason.", "reason"),
		malformed: counter("weft_ingest_malformed_total", "Unreadable records; they count as records without links."),
		commits: auto.NewHistogram(prometheus.HistogramOpts{
			Name: "weft_ingest_commit_seconds", Help: "Time to apply and commit a batch.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
		}),
		sessions:   vec("weft_ingest_sessions_ended_total", "Sessions with the upstream that ended, by reason.", "reason"),
		switches:   counter("weft_ingest_switches_total", "Failovers to another upstream."),
		gaps:       counter("weft_ingest_gaps_total", "Gaps recorded: ranges of upstream events that are missing."),
		filled:     counter("weft_ingest_filled_total", "Log rows from filling gaps."),
		unknown:    counter("weft_ingest_unknown_total", "Messages of an unknown kind; they are ignored."),
		unreadable: counter("weft_ingest_holes_total", "Times that the upstream could not deliver the next events."),
		lost: counter("weft_ingest_upstream_lost_total",
			"Times that the upstream's newest event was older than the cursor."),
	}
	in.registerGauges(auto)
	// Every series exists before its first event: a rate misses the first value of a new series.
	m.countOutcomes(apply.Counts{})
	m.countDropped(extract.Dropped{})
	for _, why := range append(slices.Collect(maps.Values(endings)), endedOtherwise) {
		m.sessions.WithLabelValues(why)
	}
	return m
}

func (in *Ingest) registerGauges(auto promauto.Factory) {
	gauge := func(name, help string, value func() float64) {
		auto.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	flag := func(name, help string, isSet func() bool) {
		gauge(name, help, func() float64 {
			if isSet() {
				return 1
			}
			return 0
		})
	}
	gauge("weft_ingest_lag_seconds", "Age of the newest committed event.",
		func() float64 { return in.Lag().Seconds() })
	gauge("weft_ingest_queue_events", "Events received and not yet committed.",
		func() float64 { return float64(in.queue.depth()) })
	gauge("weft_ingest_seq", "Sequence number of the newest event received.",
		func() float64 { return float64(in.Seen()) })
	gauge("weft_ingest_committed_seq", "Sequence number up to which the index is complete.",
		func() float64 { return float64(in.cfg.Store.Cursor(in.Host())) })
	gauge("weft_ingest_backfill_events", "Approximate events that a running replay of the archive has left.",
		func() float64 {
			p := in.Progress()
			return float64(max(p.Events-p.EventsDone, 0))
		})
	flag("weft_ingest_degraded", "1 while the upstream speaks v1, which sends no resyncs, "+
		"or while events wait and none was committed for a minute.",
		func() bool { return in.state.Load().Kind == upstream.KindV1 || in.stuck() > 0 })
	flag("weft_ingest_connected", "1 while events of the upstream arrive, or it has none to send; "+
		"0 while weft connects, waits for the first event or is disconnected.",
		func() bool { return in.state.Load().Connected })
}

// committed counts a batch.
func (m *metrics) committed(a apply.Counts, b *batch, took time.Duration) {
	m.events.Add(float64(b.seen))
	m.commits.Observe(took.Seconds())
	m.countOutcomes(a)
}

// countOutcomes counts the outcomes of events.
func (m *metrics) countOutcomes(a apply.Counts) {
	for what, n := range map[string]int{
		"log_rows": a.Changed, "links_added": a.Added, "links_removed": a.Removed,
		"stale": a.Stale, "late": a.OutOfOrder, "tombstoned": a.Tombstoned, "invalid": a.Invalid, "out": a.Out,
		"bodies": a.Bodies, "bad_bodies": a.BadBodies,
	} {
		m.applied.WithLabelValues(what).Add(float64(n))
	}
}

// extracted counts the drops of an extractor since the last call. The goroutine of the extractor calls it.
func (m *metrics) extracted(x *extractor) {
	d := x.Dropped()
	if d == x.last {
		return
	}
	m.countDropped(extract.Dropped{
		Deep: d.Deep - x.last.Deep, Links: d.Links - x.last.Links, LongPath: d.LongPath - x.last.LongPath,
		BadPath: d.BadPath - x.last.BadPath, BadText: d.BadText - x.last.BadText,
	})
	x.last = d
}

// countDropped counts and logs dropped parts of records.
func (m *metrics) countDropped(d extract.Dropped) {
	for reason, n := range map[string]uint64{
		"too_deep": d.Deep, "too_many_links": d.Links, "long_path": d.LongPath, "bad_path": d.BadPath, "bad_text": d.BadText,
	} {
		m.dropped.WithLabelValues(reason).Add(float64(n))
		if n > 0 {
			m.in.log.warn(reason, "parts of records dropped", "reason", reason, "count", n)
		}
	}
}

// bounded logs each kind of message at most once per logEvery: messages about upstream input must not fill a disk.
type bounded struct {
	logger *slog.Logger
	now    func() time.Time

	mu     sync.Mutex
	last   map[string]time.Time
	silent map[string]int
}

// logEvery bounds these messages to a few thousand lines a day.
const logEvery = 10 * time.Second

func newBounded(logger *slog.Logger, now func() time.Time) *bounded {
	return &bounded{logger: logger, now: now, last: map[string]time.Time{}, silent: map[string]int{}}
}

// warn logs a message, unless one of its kind was logged less than logEvery ago. Kinds are few and fixed.
func (b *bounded) warn(kind, msg string, args ...any) {
	b.mu.Lock()
	now := b.now()
	if last, ok := b.last[kind]; ok && now.Sub(last) < logEvery {
		b.silent[kind]++
		b.mu.Unlock()
		return
	}
	silent := b.silent[kind]
	b.last[kind] = now
	b.silent[kind] = 0
	b.mu.Unlock()
	b.logger.Warn(msg, append(args, "more_since_last", silent)...)
}
