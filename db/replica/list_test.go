package replica

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weft.dev/weft/db"
	"weft.dev/weft/db/replica/restore"
)

// TestPlanAndList: the manifest that is read where it lies is that of the database when it is restored, at any moment;
// the plan is what a restore then does.
func TestPlanAndList(t *testing.T) {
	t.Parallel()
	w := replicaOf(t, time.Minute, 40)
	for range 8 {
		want := w.states[w.r.IntN(len(w.states))]
		dir, target := t.TempDir(), restore.Target{Time: want.at}
		p, err := restore.MakePlan(t.Context(), w.cfg, dir, target)
		if err != nil {
			t.Fatal(err)
		}
		r, err := restore.Restore(t.Context(), w.cfg, dir, restore.Options{Target: target})
		if err != nil {
			t.Fatal(err)
		}
		m, err := db.ManifestOf(t.Context(), filepath.Join(dir, "weft.db"))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(m.Segments, p.Manifest.Segments) || m.Instance != p.Manifest.Instance || m.LastSeq != want.log ||
			p.Manifest.LastSeq != want.log || m.LastUS != p.Manifest.LastUS {
			t.Errorf("planned %+v, and restored %+v", p.Manifest, m)
		}
		if p.DatabaseBytes != r.DatabaseBytes || p.ReadBytes != r.Read || len(p.Files) != r.Files || p.TXID != r.TXID ||
			p.DiskBytes != r.DatabaseBytes+r.SegmentBytes || p.FreeBytes <= 0 {
			t.Errorf("planned %+v, and restored %+v", p, r)
		}
		again, err := restore.MakePlan(t.Context(), w.cfg, dir, target)
		if err != nil || again.DiskBytes != p.DatabaseBytes {
			t.Errorf("with the segments there, it needs %d bytes of disk (%v)", again.DiskBytes, err)
		}
	}
	l, err := restore.List(t.Context(), w.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.Spans) != 1 || l.Spans[0].Points < 40 || len(l.Breaks) != 0 || len(l.Snapshots) != 2 ||
		l.Manifest.LastSeq != w.states[39].log || len(l.Segments) == 0 {
		t.Errorf("%+v", l)
	}
	var levels []int
	for _, v := range l.Levels {
		levels = append(levels, v.Level)
	}
	if !slices.Equal(levels, []int{0, 1, 2, 3, 9}) {
		t.Errorf("levels %v", levels)
	}
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"levels":[{"level":0,"files":`,
		`"snapshots":[{"level":9,"min_txid":"0000000000000001",`, `"restorable":[{"from_txid":`, `"segments":[{"file":"`,
		`"log_seq":`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}

// TestPlanOfDamaged: a damaged index of pages is an error that names the file.
func TestPlanOfDamaged(t *testing.T) {
	t.Parallel()
	w := replicaOf(t, time.Minute, 12)
	p, err := restore.MakePlan(t.Context(), w.cfg, t.TempDir(), restore.Target{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		cfg := w.cfg
		cfg.Path = copyDir(t, w.cfg.Path)
		path := w.object(cfg.Path, p.Files[0])
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-17-i] ^= 0xff // the index and its length end 16 bytes before the end
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		_, err = restore.MakePlan(t.Context(), cfg, t.TempDir(), restore.Target{})
		var file *restore.FileError
		if err != nil && (!errors.As(err, &file) || !file.File.Same(p.Files[0])) {
			t.Errorf("byte %d from the end: %v", 17+i, err)
		}
	}
}

const verifications = "weft_replica_verifications_total"

// metric is the value of a gauge or counter, of the one with a label of this value.
func metric(t *testing.T, of *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := of.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no metric %s of %q", name, label)
	return 0
}

// TestVerifier: it verifies with each interval, counts, and says what is wrong with what can be done.
func TestVerifier(t *testing.T) {
	t.Parallel()
	w := replicaOf(t, time.Minute, 12)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cfg, registry, log := w.cfg, prometheus.NewRegistry(), &strings.Builder{}
		cfg.Path = copyDir(t, w.cfg.Path)
		v := restore.NewVerifier(restore.VerifierConfig{Source: cfg, Every: time.Hour,
			Scratch: filepath.Join(t.TempDir(), "verify"), Metrics: registry, Logger: slog.New(slog.NewTextHandler(log, nil))})
		done := make(chan error)
		go func() { done <- v.Run(ctx) }()
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if v.Last() != nil {
			t.Error("it began at once")
		}
		time.Sleep(45 * time.Minute)
		synctest.Wait()
		if last := v.Last(); last == nil || last.Outcome != restore.OK ||
			metric(t, registry, "weft_replica_verified_timestamp_seconds", "") != float64(last.EndedAt.Unix()) {
			t.Errorf("%+v", last)
		}
		if err := os.RemoveAll(filepath.Join(cfg.Path, "ltx")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait() // the log below is written
		if last := v.Last(); last.Outcome != restore.Failed || metric(t, registry, verifications, "failed") != 1 ||
			metric(t, registry, verifications, "ok") != 1 {
			t.Errorf("%+v", last)
		}
		if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "do=") {
			t.Errorf("log: %s", log)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
