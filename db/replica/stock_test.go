package replica

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"weft.dev/weft/db/replica/restore"
)

// TestRestoreStock: what stock Litestream replicates, beside a weft that leaves checkpoints to it, comes back here, at
// each moment that was, and is verified. With a whole log it needs no segments.
func TestRestoreStock(t *testing.T) {
	program := stockLitestream(t)
	if program == "" {
		t.Skip("runs stock Litestream: -stock")
	}
	t.Parallel()
	for _, kind := range []string{"file", "s3", "sftp"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newStore(t, kind)
			w := newIndex(t, s.cfg, 8, 0)
			yml := s.yml
			if yml[0] != '{' {
				yml = "{" + yml + "}"
			}
			config := filepath.Join(t.TempDir(), "litestream.yml")
			text := "snapshot: {interval: 1s}\nlevels: [{interval: 1s}, {interval: 2s}]\ndbs: [{path: '" +
				filepath.Join(w.dir, "weft.db") + "', monitor-interval: 20ms, replica: " + yml[:len(yml)-1] +
				", sync-interval: 20ms}}]\n"
			if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			litestream := exec.Command(program, "replicate", "-config", config)
			var log bytes.Buffer
			litestream.Stdout, litestream.Stderr = &log, &log
			if err := litestream.Start(); err != nil {
				t.Fatal(err)
			}
			stopped := false
			stop := func() error {
				stopped = true
				_ = litestream.Process.Signal(os.Interrupt)
				return litestream.Wait()
			}
			defer func() {
				if !stopped {
					_ = stop()
				}
				if t.Failed() {
					t.Logf("%s", &log)
				}
			}()
			for range 15 {
				w.write()
			}
			for _, want := range []state{w.states[14], w.states[w.r.IntN(14)], w.states[w.r.IntN(14)], w.states[w.r.IntN(14)]} {
				dir := t.TempDir()
				if _, err := restore.Restore(t.Context(), s.cfg, dir,
					restore.Options{Target: restore.Target{Time: want.at}}); err != nil {
					t.Fatalf("to %s: %v", restore.Stamp(want.at), err)
				}
				if got := w.equalsModel(dir); got != want {
					t.Errorf("to %s, %d events: %d", restore.Stamp(want.at), want.events, got.events)
				}
			}
			w.stop()
			if err := stop(); err != nil {
				t.Fatal(err)
			}
			v := restore.Verify(t.Context(), s.cfg, restore.VerifyOptions{Scratch: t.TempDir()})
			if v.Outcome != restore.OK || v.LogSeq != w.states[14].log {
				t.Errorf("%+v", v)
			}
			l, err := restore.List(t.Context(), s.cfg)
			if err != nil || len(l.Spans) != 1 || time.Since(l.Spans[0].ToTime) > time.Hour {
				t.Errorf("%+v, %v", l, err)
			}
			dir := t.TempDir()
			if _, err := restore.Restore(t.Context(), s.cfg, dir, restore.Options{}); err != nil {
				t.Fatal(err)
			}
			if got := w.equalsModel(dir); got != w.states[14] {
				t.Errorf("all: %d events", got.events)
			}
		})
	}
}
