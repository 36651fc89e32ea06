package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// upWithin limits a start. weft opens an index of this size in a tenth of a second; a busy machine may take long.
	upWithin = 20 * time.Second
	// downWithin limits a shutdown. weft's own limit for requests under way is 10 s.
	downWithin = 20 * time.Second
)

// weft is a running weft serve.
type weft struct {
	*child
	data    string
	queries string // base URL, once it is up
	metrics string // URL, once it is up
}

// startWeft starts a weft that follows an upstream from its start, without waiting for it.
func startWeft(t *testing.T, j *journal, upstream, data string) *weft {
	t.Helper()
	return &weft{data: data, child: start(t, j, nil, "weft", "serve", "--jetstream", upstream, "--from", "start", "--data",
		data,
		"--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0")}
}

// up waits until weft answers and has read from its upstream. The past of the simulated upstream is older than any
// useful max-lag; with this one, only a weft that has read nothing isn't ready.
func (w *weft) up(t *testing.T) {
	t.Helper()
	eventually(t, upWithin, "weft is up", func() error {
		queries, ok := w.address("queries")
		metrics, ok2 := w.address("metrics")
		if !ok || !ok2 {
			return fmt.Errorf("it has not logged where it listens")
		}
		w.queries, w.metrics = "http://"+queries, "http://"+metrics+"/metrics"
		_, err := get(w.queries + "/readyz?max-lag=87600h")
		return err
	}, w.child)
}

// address returns the address of one of weft's servers from the log: weft listens on port 0, so that no other process
// can take its port between two starts.
func (w *weft) address(server string) (string, bool) {
	line, ok := w.line("msg=listening", "server="+server)
	if !ok {
		return "", false
	}
	return attr(line, "address"), true
}

// attr returns the value of an attribute in a line of slog's text format; values here have no spaces.
func attr(line, name string) string {
	_, after, _ := strings.Cut(line, " "+name+"=")
	value, _, _ := strings.Cut(after, " ")
	return value
}

// reaches waits until weft has received an event.
func (w *weft) reaches(t *testing.T, seq uint64, within time.Duration) {
	t.Helper()
	eventually(t, within, fmt.Sprintf("weft receives event %d", seq), func() error {
		at, err := metric(w.metrics, "weft_ingest_seq")
		if err == nil && uint64(at) < seq {
			err = fmt.Errorf("it is at %.0f", at)
		}
		return err
	}, w.child)
}

// refusesSecond starts a second weft on the data directory of a running one.
func (w *weft) refusesSecond(t *testing.T, upstream string) {
	t.Helper()
	second := startWeft(t, newJournal(t, "second weft"), upstream, w.data)
	if code := second.exit(t, upWithin); code != 1 {
		t.Errorf("a second weft on the same data directory ended with %d, not 1", code)
	}
	if _, ok := second.line("another weft has "+w.data+" open", "stop it first"); !ok {
		t.Error("a second weft on the same data directory doesn't say who has it open")
	}
	if _, err := get(w.queries + "/readyz"); err != nil {
		t.Errorf("the first weft is no longer ready: %v", err)
	}
}

// endsInOrder ends weft with SIGTERM and checks the order of its last log lines: the log of a shutdown must show which
// steps were done. It returns the committed sequence number.
func (w *weft) endsInOrder(t *testing.T) uint64 {
	t.Helper()
	if code := w.terminate(t, downWithin); code != 0 {
		t.Errorf("weft ended with %d after SIGTERM, not 0", code)
	}
	lines := w.output()
	var seq uint64
	for _, step := range []string{
		"shutting down: not ready", "stopping ingest", "all received events are committed",
		"closing connections", "checkpointing", "closing the database",
	} {
		at := 0
		for at < len(lines) && !strings.Contains(lines[at], step) {
			at++
		}
		if at == len(lines) {
			t.Fatalf("weft's shutdown doesn't log %q, or not in its place", step)
		}
		if s := attr(lines[at], "seq"); s != "" {
			var err error
			if seq, err = strconv.ParseUint(s, 10, 64); err != nil {
				t.Fatalf("%s: %v", lines[at], err)
			}
		}
		lines = lines[at+1:]
	}
	return seq
}

// quietFor is several times the commit time of one batch: with an empty queue and no commit for this time, no commit is
// in progress.
const quietFor = 500 * time.Millisecond

// quiet waits until weft has committed all received events, and no change of an account is in progress.
func (w *weft) quiet(t *testing.T) {
	t.Helper()
	last, since := -1.0, time.Now()
	eventually(t, settleWithin, "weft commits all that it has received", func() error {
		queued, err := metric(w.metrics, "weft_ingest_queue_events")
		if err != nil {
			return err
		}
		committed, err := metric(w.metrics, "weft_ingest_events_total")
		if err != nil {
			return err
		}
		jobs, err := metric(w.metrics, "weft_jobs")
		if err != nil {
			return err
		}
		if queued+jobs > 0 || committed != last {
			last, since = committed, time.Now()
		}
		if time.Since(since) < quietFor {
			return fmt.Errorf("%v events are committed, %v wait, and %v jobs are under way", committed, queued, jobs)
		}
		return nil
	}, w.child)
}
