package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// waitsOf returns how long weft has waited between the loss of a server and the first session with another one, by its
// log of that time. It returns an error if weft did not notice the loss at once, or lost the other one too.
func waitsOf(lines []string, from, to string) (waited time.Duration, err error) {
	var pause time.Duration // before the next session, unless that is with another server
	for _, line := range lines {
		host := attr(line, "host")
		switch {
		case strings.Contains(line, `msg="upstream session ended"`) && host != from:
			return waited, fmt.Errorf("a session with %s ended too: %s", host, line)
		case strings.Contains(line, `msg="upstream session ended"`) && strings.Contains(line, ` err="silent for `):
			return waited, fmt.Errorf("it noticed the loss by the silence only: %s", line)
		case strings.Contains(line, `msg="upstream session ended"`):
			waited += pause
			pause, err = time.ParseDuration(attr(line, "retry_in"))
			if err != nil {
				return waited, fmt.Errorf("%s: %w", line, err)
			}
		case strings.Contains(line, `msg="failing over to another upstream"`) && attr(line, "to") == to:
			last, err := time.ParseDuration(attr(line, "waited"))
			if err != nil {
				return waited, fmt.Errorf("%s: %w", line, err)
			}
			return waited + last, nil
		}
	}
	return waited, fmt.Errorf("it never failed over from %s to %s", from, to)
}

// TestWaitsOf: the waits of a failover are read from the log, whatever the time between its lines, and a loss that was
// noticed by the silence is an error.
func TestWaitsOf(t *testing.T) {
	t.Parallel()
	ended := func(host, err, retry string) string {
		return fmt.Sprintf("time=2026-07-01T00:00:09.000Z level=WARN msg=%q host=%s err=%q seq=7 retry_in=%s do=%q",
			"upstream session ended", host, err, retry, "nothing if it reconnects")
	}
	failingOver := func(waited string) string {
		return fmt.Sprintf("time=2026-07-01T00:00:20.000Z level=WARN msg=%q from=http://a to=http://b waited=%s why=%q",
			"failing over to another upstream", waited, "probe: refused")
	}
	lost := ended("http://a", "read: EOF", "200ms")
	refused := ended("http://a", "probe: refused", "1.5s")
	silent := ended("http://a", "silent for 30 s: no event, and no answer to a ping", "200ms")
	other := ended("http://b", "read: EOF", "200ms")
	moved := failingOver("0s")
	late := failingOver("8s")
	for _, tc := range []struct {
		name  string
		lines []string
		want  time.Duration
		fails bool
	}{
		{"a second chance on a slow machine", []string{lost, refused, moved}, 200 * time.Millisecond, false},
		{"at once", []string{lost, moved}, 0, false},
		{"a third chance", []string{lost, refused, refused, moved}, 1700 * time.Millisecond, false},
		{"a wait before the other", []string{lost, late}, 8 * time.Second, false},
		{"noticed late", []string{silent, moved}, 0, true},
		{"the other is lost too", []string{lost, other, moved}, 0, true},
		{"never", []string{lost, refused}, 200 * time.Millisecond, true},
	} {
		got, err := waitsOf(tc.lines, "http://a", "http://b")
		if got != tc.want || (err != nil) != tc.fails {
			t.Errorf("%s: %s, %v, want %s", tc.name, got, err, tc.want)
		}
	}
}
