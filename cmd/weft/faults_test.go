package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestFaults: warnings and errors are kept with their error and advice, newest first and equal ones once. Other
// attributes are dropped, and the log is unchanged.
func TestFaults(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	f := &faults{now: func() time.Time { return now }}
	var log bytes.Buffer
	logger := slog.New(f.handler(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))).With("part",
		"x")
	logger.Info("all is well", "err", "none")
	logger.Warn("session ended", "err", errors.New("away"), "address", "192.0.2.1")
	now = now.Add(time.Minute)
	logger.WithGroup("g").Error("writing stops", "err", errors.New("disk full"), "do", "free some space")
	now = now.Add(time.Minute)
	logger.Warn("session ended", "err", errors.New("away again: "+strings.Repeat("é", detailBytes)))

	got := f.recent()
	if len(got) != 2 {
		t.Fatalf("%+v", got)
	}
	a, b := got[0], got[1]
	if a.Message != "session ended" || a.Level != "warn" || a.Count != 2 || a.First != "2026-07-01T12:00:00Z" ||
		a.Last != "2026-07-01T12:02:00Z" ||
		!strings.HasPrefix(a.Detail, "away again: é") || !strings.HasSuffix(a.Detail, "é…") ||
		len(a.Detail) > detailBytes+len("…") {
		t.Errorf("%+v", a)
	}
	if b.Message != "writing stops" || b.Level != "error" || b.Count != 1 || b.Detail != "disk full" ||
		b.Do != "free some space" {
		t.Errorf("%+v", b)
	}
	if strings.Contains(fmt.Sprint(got), "192.0.2.1") {
		t.Errorf("an address is shown: %+v", got)
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "writing stops") ||
		!strings.Contains(text, "part=x") {
		t.Errorf("the log has %q", text)
	}

	for i := range 2 * faultsKept {
		logger.Warn(fmt.Sprint("fault ", i))
	}
	if got := f.recent(); len(got) != faultsKept || got[0].Message != fmt.Sprint("fault ", 2*faultsKept-1) {
		t.Errorf("%d faults, the newest %q", len(got), got[0].Message)
	}
}
