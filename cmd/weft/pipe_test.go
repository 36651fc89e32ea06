package main

import (
	"bufio"
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

// TestDemoEndsWithItsReader: weft demo | head leaves no process and no data directory, and prints no error.
func TestDemoEndsWithItsReader(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	var stderr syncBuffer
	done := make(chan int, 1)
	go func() {
		stdout := &pipeWriter{writer, func() { cancel(errBrokenPipe) }}
		done <- run(ctx, []string{"weft", "demo", "--listen=127.0.0.1:0"}, nil, stdout, &stderr)
	}()
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "Generating") {
		t.Fatalf("%q, %v", line, err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case code := <-done:
		if code != exitBrokenPipe || stderr.String() != "" {
			t.Errorf("code %d, stderr %q", code, stderr.String())
		}
	case <-time.After(stuck):
		t.Fatalf("no end within %s", stuck)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
