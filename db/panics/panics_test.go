package panics

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// TestLog: a panic is logged with the name of its goroutine and raised again.
func TestLog(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	raised := func() (p any) {
		defer func() { p = recover() }()
		func() {
			defer Log(logger, "ingest")
			panic("index out of range")
		}()
		return nil
	}()
	if raised != "index out of range" {
		t.Errorf("raised again: %v", raised)
	}
	for _, want := range []string{"level=ERROR", "goroutine=ingest", `panic="index out of range"`, "TestLog"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%q is not in the log: %s", want, log.String())
		}
	}
	log.Reset()
	func() { defer Log(logger, "ingest") }()
	if log.Len() > 0 {
		t.Errorf("without a panic: %s", log.String())
	}
}
