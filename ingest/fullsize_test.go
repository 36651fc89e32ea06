package ingest_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/ingest/upstream"
)

var fullSize = flag.Bool("fullsize", false, "run TestFullSizeSegment, which takes minutes")

const (
	// segmentBytes is the size of the network's segments, and segmentEvents its equivalent in events of the synthetic
	// network.
	segmentBytes  = 279_000_000
	segmentEvents = 3_700_000

	// backfillMemory bounds the memory of a backfill, in bytes. scale.md has the measured figure.
	backfillMemory = 1_000_000_000

	serveVariable = "WEFT_TEST_SERVE_ARCHIVE"
)

// TestServeArchive is the server process of TestFullSizeSegment, so that its memory isn't counted.
func TestServeArchive(t *testing.T) {
	if os.Getenv(serveVariable) == "" {
		t.Skip("it is the child of TestFullSizeSegment")
	}
	s, err := sim.NewServer(sim.ServerConfig{Backlog: segmentEvents, EventsPerSegment: segmentEvents, Dir: t.TempDir(),
		NetworkConfig: sim.NetworkConfig{Accounts: segmentEvents / 20}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { // the child ends with its parent
		_, _ = os.Stdin.Read(make([]byte, 1))
		cancel()
	}()
	fmt.Println(serveVariable, s.URL(), s.Tip())
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
}

// TestFullSizeSegment: the backfill of a segment of the network's size takes bounded memory.
func TestFullSizeSegment(t *testing.T) {
	if !*fullSize {
		t.Skip("run with -fullsize; it takes minutes")
	}
	server := exec.CommandContext(t.Context(), must(os.Executable()), "-test.run", "^TestServeArchive$")
	server.Env = append(os.Environ(), serveVariable+"=1")
	stdin, stdout := must(server.StdinPipe()), must(server.StdoutPipe())
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = stdin.Close(), server.Wait() }()
	var said, url string
	var tip uint64
	if _, err := fmt.Fscan(stdout, &said, &url, &tip); err != nil || said != serveVariable {
		t.Fatalf("the server says %q, %v", said, err)
	}
	plan, err := ingest.PlanBackfill(t.Context(), []upstream.Endpoint{{URL: url}}, "", ingest.From{Start: true}, nil)
	if err != nil || plan.Segments != 1 || plan.Bytes < segmentBytes {
		t.Fatalf("the archive is %+v, %v", plan, err)
	}
	store, err := db.Open(db.Config{Dir: t.TempDir(), Logger: logger(t), ReplayWindow: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	begun := time.Now()
	in := ingest.New(ingest.Config{Hosts: []upstream.Endpoint{{URL: url}}, Store: store, From: ingest.From{Start: true},
		Logger: logger(t)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	for store.Cursor(url) < tip {
		select {
		case <-time.After(20 * time.Millisecond):
		case err := <-done:
			t.Fatalf("the backfill has ended at %d of %d: %v", store.Cursor(url), tip, err)
		}
	}
	took := time.Since(begun)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	peak := peakMemory(t)
	t.Logf("%d events, %d bytes: %s, %.0f events/s, peak memory %d MB", tip, plan.Bytes, took.Round(time.Second),
		float64(tip)/took.Seconds(), peak/1e6)
	if peak > backfillMemory {
		t.Errorf("the backfill took %d bytes of memory, more than %d", peak, backfillMemory)
	}
	if st, err := store.Stats(t.Context()); err != nil || st.Links < segmentEvents*9/10 {
		t.Errorf("%+v, %v", st, err)
	}
}

// peakMemory returns the peak memory of this process, in bytes.
func peakMemory(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("only /proc says how much memory a process took")
	}
	for line := range strings.Lines(string(text)) {
		var kb int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	t.Fatal("/proc/self/status has no VmHWM")
	return 0
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
