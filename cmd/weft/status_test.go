package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestStatusCommand(t *testing.T) {
	t.Parallel()
	const head = `{"version": "v1.2.3", "ready": true, ` +
		`"index": {"links": 1234567, "records": 1000, "actors": 1, "log_seq": 1400000}, "replication": `
	for _, tc := range []struct {
		name, answer   string
		code           int
		stdout, stderr string
	}{
		{"no replica", head + `null}`, 0,
			"weft v1.2.3 at URL\n  1,234,567 links of 1,000 records by 1 account, log row 1,400,000\n  ready\n" +
				"  replication is off\n", ""},
		{"not ready", `{"version": "v1", "reason": "behind by 5 min"}`, 1, "  not ready: behind by 5 min\n",
			"weft is not ready"},
		{"degraded", `{"version": "v1", "ready": true, "degraded": "a seal is retried"}`, 0,
			"  ready, degraded: a seal is retried\n", ""},
		{"behind",
			`{"version": "v1", "ready": true, "upstream": {"state": "disconnected", "host": "a.example", ` +
				`"detail": "no connection since then: gone", "lag_seconds": 28525175}}`,
			0, "  upstream a.example: no connection since then: gone\n  330 days behind the network\n  ready\n", ""},
		{"gaps",
			`{"version": "v1", "ready": true, "open_gaps": 3, ` +
				`"gaps": [{"id": 7, "state": "open", "host": "a.example", "from": 3, "to": 9000, "why": "gone"}]}`,
			0, "  gap 7, open: a.example 3 to 9,000: gone\n  and 2 older gaps\n  ready\n", ""},
		{"all is there",
			head + `{"state": "ok", "replica": "s3://b/p", "local_txid": 1200, "replica_txid": 1200, "log_seq": 1400000,
			"durable_log_seq": 1400000, "segments_uploaded": 1, "uploaded_bytes": 9000000, "last_success": "2026-11-20T12:00:00Z"}}`, 0,
			"replica s3://b/p: ok\n  transaction: replica 1,200, local 1,200\n" +
				"  log row: replica 1,400,000, local 1,400,000\n  behind by 0 transactions, 0 B, 0 ms\n" +
				"  0 segments to upload, 0 B\n  sent since the start: 9.0 MB, 1 segment\n  last complete at 2026-11-20T12:00:00Z\n",
			""},
		{"failing",
			head +
				`{"state": "failing", "replica": "s3://b/p", "local_txid": 1200, "lag_transactions": 1, "lag_bytes": 4000,
			"lag_seconds": 61.25,
			"segments_waiting": 1, "segments_waiting_bytes": 3000, "last_error": "refused", "last_error_at": "2026-11-20T12:01:00Z",
			"failures": 7, "do": "look"}}`, 1,
			"  transaction: replica unknown, local 1,200\n  log row: replica unknown, local 0\n" +
				"  behind by 1 transaction, 4.0 kB, 61 s\n  1 segment to upload, 3.0 kB\n" +
				"  sent since the start: 0 B, 0 segments\n" +
				"  last error, at 2026-11-20T12:01:00Z (7 in a row): refused\n  do: look\n", "replication is failing"},
		{"no weft", "hello", 1, "", "without the JSON of weft"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			running := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/status" {
					http.NotFound(w, r)
					return
				}
				_, _ = w.Write([]byte(tc.answer))
			}))
			defer running.Close()
			code, stdout, stderr := weft(t.Context(), "status", "--url", running.URL+"/")
			stdout = strings.ReplaceAll(stdout, running.URL, "URL")
			if code != tc.code || !strings.Contains(stdout, tc.stdout) || !strings.Contains(stderr, tc.stderr) {
				t.Errorf("code %d, stdout:\n%s\nstderr: %s", code, stdout, stderr)
			}
		})
	}
}

// TestStatusReady: a health check requests /readyz alone, and fails when weft isn't ready.
func TestStatusReady(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, answer string
		status, code int
		says         string
	}{
		{"ready", `{"ready":true}`, 200, 0, "ready\n"},
		{"degraded", `{"ready":true,"degraded":"the replica is behind"}`, 200, 0, "ready, degraded: the replica is behind\n"},
		{"not ready", `{"error":"NotReady","message":"opening the index"}`, 503, 1, ""},
		{"another service", `{}`, 200, 1, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			running := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/readyz" {
					t.Errorf("it asks for %s", r.URL)
				}
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.answer))
			}))
			defer running.Close()
			code, stdout, stderr := weft(t.Context(), "status", "--ready", "--url", running.URL)
			if code != tc.code || stdout != tc.says || (stderr == "") != (code == 0) {
				t.Errorf("code %d, %q, %q", code, stdout, stderr)
			}
		})
	}
}

// TestStatusWithoutWeft: the error of an address without a weft names the address and asks whether weft runs there.
func TestStatusWithoutWeft(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	for url, want := range map[string]string{other.URL: "404", "http://127.0.0.1:1": "is it running there?"} {
		code, _, stderr := weft(t.Context(), "status", "--url", url)
		if code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: code %d, stderr %q", url, code, stderr)
		}
	}
}

// TestReplicateFlags: serve uses a litestream.yml beside the database; off turns it off; errors are reported before
// anything begins.
func TestReplicateFlags(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		args   []string
		stderr string
	}{
		{"no such file", []string{"--replicate", "/nonexistent/litestream.yml"},
			"--replicate: replica: read the configuration: open /nonexistent/litestream.yml"},
		{"a time below zero", []string{"--replica-alarm", "-1s"}, "--replica-alarm must be 0 or a duration"},
		{"another time below zero", []string{"--verify-every", "-1s"}, "--verify-every must be 0 or a duration"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			code, _, stderr := weft(t.Context(), append([]string{"serve", "--data", t.TempDir()}, tc.args...)...)
			if code != 2 || !strings.Contains(stderr, tc.stderr) {
				t.Errorf("code %d: %s", code, stderr)
			}
		})
	}
}
