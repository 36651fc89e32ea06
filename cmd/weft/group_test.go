package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

// TestGroup: the first error of a goroutine ends the others and is the result.
func TestGroup(t *testing.T) {
	t.Parallel()
	failed := errors.New("failed")
	g := newGroup(t.Context(), slog.New(slog.DiscardHandler))
	waited := g.start("waits", func() error {
		<-g.ctx.Done()
		return g.ctx.Err()
	})
	g.start("fails", func() error { return failed })
	err := g.wait()
	if !errors.Is(err, failed) || errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, failed)
	}
	<-waited
}

// TestLogPanic: a panic is logged with the name of its goroutine and raised again.
func TestLogPanic(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	raised := func() (p any) {
		defer func() { p = recover() }()
		func() {
			defer logPanic(logger, "ingest")
			panic("index out of range")
		}()
		return nil
	}()
	if raised != "index out of range" {
		t.Errorf("raised again: %v", raised)
	}
	for _, want := range []string{"level=ERROR", "goroutine=ingest", `panic="index out of range"`, "TestLogPanic"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not in the log: %s", want, log.String())
		}
	}
	log.Reset()
	func() { defer logPanic(logger, "ingest") }()
	if log.Len() > 0 {
		t.Errorf("without a panic: %s", log.String())
	}
}
