package restore

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/superfly/ltx"

	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/replica/config"
)

// VerifierConfig configures a verifier.
type VerifierConfig struct {
	Source config.Source // the replica. Required.
	Every  time.Duration // between two verifications, and before the first. Required.
	// Scratch is VerifyOptions.Scratch: a directory for this alone, which Run empties at the start.
	Scratch      string
	SegmentBytes int64                 // as VerifyOptions has it
	Instance     string                // the index to which the replica must belong; empty: any
	Reached      func() ltx.TXID       // the newest transaction that was uploaded; nil: not known
	Pacer        *disk.Pacer           // as VerifyOptions has it
	Logger       *slog.Logger          // nil: none
	Metrics      prometheus.Registerer // nil: none
	Now          func() time.Time      // nil: time.Now
}

// Verifier verifies a replica again and again while weft runs.
type Verifier struct {
	cfg    VerifierConfig
	last   atomic.Pointer[Verification]
	done   *prometheus.CounterVec
	okAt   prometheus.Gauge
	behind prometheus.Gauge
}

// NewVerifier returns a Verifier. It reads and writes nothing.
func NewVerifier(cfg VerifierConfig) *Verifier {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Source = config.PoolOf(cfg.Source) // one connection for all verifications
	v := &Verifier{
		cfg: cfg,
		done: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weft_replica_verifications_total", Help: "Verifications of the replica, by outcome.",
		}, []string{"outcome"}),
		okAt: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weft_replica_verified_timestamp_seconds",
			Help: "Unix time of the last verification with outcome ok; 0: none since the start.",
		}),
		behind: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "weft_replica_verified_age_seconds",
			Help: "Age of the restored state at the last verification with outcome ok.",
		}),
	}
	for _, outcome := range []Outcome{OK, Failed, Inconclusive} {
		v.done.WithLabelValues(string(outcome)) // an alert on failed needs the series before the first failure
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(v.done, v.okAt, v.behind)
	}
	return v
}

// Last returns the last verification; nil before the first.
func (v *Verifier) Last() *Verification { return v.last.Load() }

// Run verifies until ctx ends. The first verification begins one interval after the start: there is little to verify
// before, and a weft in a restart loop would do no other work.
func (v *Verifier) Run(ctx context.Context) error {
	err := v.clear() // the scratch database of a killed process takes disk space
	if err != nil {
		v.cfg.Logger.Warn("cannot clear the scratch directory of the verification; retrying before each verification",
			"err", err)
	}
	ticker := time.NewTicker(v.cfg.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		err := v.clear()
		if err != nil {
			v.note(&Verification{Outcome: Inconclusive, Faults: []string{"clear the scratch directory: " + err.Error()},
				EndedAt: v.cfg.Now()})
			continue
		}
		o := VerifyOptions{Scratch: v.cfg.Scratch, SegmentBytes: v.cfg.SegmentBytes, Instance: v.cfg.Instance,
			Pacer: v.cfg.Pacer, Now: v.cfg.Now}
		if v.cfg.Reached != nil {
			o.Reached = v.cfg.Reached()
		}
		r := Verify(ctx, v.cfg.Source, o)
		if ctx.Err() != nil {
			return nil
		}
		v.note(r)
	}
}

// clear empties the scratch directory: a killed process leaves a database there.
func (v *Verifier) clear() error {
	if v.cfg.Scratch == "" {
		return nil
	}
	return errors.Join(os.RemoveAll(v.cfg.Scratch), os.MkdirAll(v.cfg.Scratch, 0o755))
}

func (v *Verifier) note(r *Verification) {
	v.last.Store(r)
	v.done.WithLabelValues(string(r.Outcome)).Inc()
	switch r.Outcome {
	case OK:
		v.okAt.Set(float64(r.EndedAt.Unix()))
		v.behind.Set(r.AgeSeconds)
		v.cfg.Logger.Info("verified the replica", "txid", r.TXID.String(), "log_seq", r.LogSeq,
			"age_seconds", r.AgeSeconds, "files", r.Files,
			"segments", r.Segments, "segments_read", r.SegmentsRead, "bytes", r.ReadBytes, "seconds", r.TookSeconds)
	case Failed:
		v.cfg.Logger.Error("the replica is faulty", "err", errors.Join(faults(r)...),
			"do", "weft replica list shows what can be restored; for a new replica, change the path in litestream.yml "+
				"and restart weft")
	default:
		v.cfg.Logger.Warn("the replica could not be verified", "err", errors.Join(faults(r)...),
			"do", "weft retries after the next interval; weft verify retries now")
	}
}

func faults(r *Verification) (all []error) {
	for _, f := range r.Faults {
		all = append(all, errors.New(f))
	}
	return all
}
