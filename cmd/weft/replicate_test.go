package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/api/wire"
)

// TestReplicaAlarm: a replica that falls too far behind is logged once, with the current reason and without recovered
// errors, and once when it has caught up.
func TestReplicaAlarm(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	var st wire.Replication
	r := &replication{alarm: time.Minute, logger: slog.New(slog.NewTextHandler(&out, nil)),
		progress: func() wire.Replication { return st }}
	was := false
	for _, tc := range []struct {
		name string
		st   wire.Replication
		want string // substring of degraded; empty: not degraded
		log  string // empty: nothing
	}{
		{"well", wire.Replication{LagSeconds: 1}, "", ""},
		{"an error that has recovered", wire.Replication{LagSeconds: 1, LastError: "503"}, "", ""},
		{"slow, with such an error", wire.Replication{LagSeconds: 90, LastError: "503"}, "uploads are slower than new data",
			"degraded"},
		{"failing", wire.Replication{LagSeconds: 100, LastError: "404", Reason: "upload: 404", Failures: 3}, "upload: 404",
			""},
		{"well again", wire.Replication{LagSeconds: 2, LastError: "404"}, "", "caught up"},
	} {
		st = tc.st
		out.Reset()
		if got := r.degraded(); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) ||
			strings.Contains(got, "503") {
			t.Errorf("%s: %q", tc.name, got)
		}
		was = r.logChange(was)
		if log := out.String(); (log == "") != (tc.log == "") || !strings.Contains(log, tc.log) {
			t.Errorf("%s: the log says %q", tc.name, log)
		}
	}
}
