package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/humanize"
)

// statusOf is an API with this answer at /status.
func statusOf(body string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(body))
	})
}

const wellStatus = `{"version":"1.2.3","instance":"ABC","ready":true,
"index":{"links":240000,"records":200000,"actors":5000,"log_seq":300000,"log_oldest":100001,
  "unsealed":1000,"segments":3,"runs":9,"jobs":0,"sealing":true,"compacting":true},
"space":{"database_bytes":5000000,"wal_bytes":1000000,"segment_bytes":4000000,"memory_bytes":3000000,
  "levels":[{"level":0,"files":2,"links":40000,"bytes":1000000},{"level":1,"files":1,"links":200000,"bytes":3000000}],
  "bytes_per_link":41.7,"write_amplification":1.8,"free_bytes":60000000000,"total_bytes":100000000000,
  "bytes_per_day":1000000000,"measured_seconds":7200,"full_at":"2026-09-29T12:00:00Z","reserve_bytes":134000000},
"upstream":{"state":"following","connected":true,"host":"jetstream.example","kind":"v2","degraded":"",
  "detail":"connected since 2026-07-01","lag_seconds":0.25,"seq":77,"committed":76,"queued":3,"hosts":[],"replay":null,"slice":"all","parts":[]},
"replication":null,"gaps":[],"open_gaps":0,"faults":[],
"history":{"every_seconds":5,
  "points":[{"events":100,"links":90,"lag":0.1},{"events":400,"links":-5,"lag":2.5},{"events":200,"links":50,"lag":0.2}]}}`

// TestStatusPage: each state of the service has its headline and explanation.
func TestStatusPage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		changes string // pairs of old and new text in the answer, between bars
		want    []string
		not     []string
	}{
		{"well", "", []string{"Up to date", "Connected to", "jetstream.example", "250 ms",
			`<span class="number">200 ms</span>`, "Lag over the last 15 s: 200 ms now, 2.5 s at most", "240,000", "41.7 bytes",
			"1.8×", "60.0 GB", "in 60 days", "On 29 September 2026", "Below 134.0 MB indexing pauses", "in the last 2 h",
			"seal, compaction",
			"200,000", "Events per second over the last 15 s: 200 now, 400 at most", "No open gaps",
			"does not replicate the index", "weft 1.2.3", `width="100.00"`, `width="33.33"`},
			[]string{"class=\"look\"", "Recent warnings", "Replaying"}},
		{"shutting down", `"ready":true|"ready":false,"reason":"shutting down"`, []string{"<h1>Shutting down</h1>"},
			[]string{"Up to date"}},
		{"behind", `"ready":true|"ready":true,"degraded":"no event from jetstream.example for 2m"`,
			[]string{"Running, with warnings", "No event from jetstream.example for 2m."}, []string{"Up to date"}},
		{"paused",
			`"compacting":true|"compacting":true,"paused":"indexing is paused: 9 MB are free"|"ready":true|` +
				`"ready":true,"degraded":"indexing is paused: 9 MB are free"`,
			[]string{"<h1>Not up to date</h1>", "Indexing is paused for lack of disk space",
				"Indexing is paused: 9 MB are free."}, []string{"Up to date"}},
		{"away",
			`"state":"following","connected":true|"state":"disconnected","connected":false|` +
				`"detail":"connected since 2026-07-01"|` +
				`"detail":"no connection since 2026-07-01: connection refused; next attempt in 5 s"`,
			[]string{"Not connected to",
				"No connection since 2026-07-01: connection refused; next attempt in 5 s. The index gets no new events.",
				"class=\"look\"", "Running, with warnings"}, []string{"Up to date"}},
		{"a seal that is tried again", `"ready":true|"ready":true,"degraded":"the seal fails and is tried again: disk full"`,
			[]string{"Degraded", "The seal fails and is tried again: disk full.", "Running, with warnings"},
			[]string{"Up to date"}},
		{"writing failed", `"compacting":true|"compacting":true,"failed":"disk full"`,
			[]string{"Writing has stopped", "Disk full.", "start weft again"}, nil},
		{"v1", `"degraded":""|"degraded":"it sends no resyncs"`, []string{"it sends no resyncs"}, nil},
		{"several servers",
			`"hosts":[]|"hosts":[{"host":"a.example","kind":"v2","committed":76},` +
				`{"host":"b.example","kind":"v1","committed":1790000000000000,"failure":"no route",` +
				`"retry_at":"2026-07-01T00:00:00Z"}]`,
			[]string{"b.example", "no route", "2026-09-21 14:13:20 UTC", "next attempt 2026-07-01 00:00:00 UTC"},
			[]string{"T00:"}},
		{"connecting", `"state":"following"|"state":"connecting"|"detail":"connected since 2026-07-01"|"detail":"connecting"`,
			[]string{"Connecting to", "Connecting."}, []string{"Not connected", "Connected to"}},
		{"waiting for the first event",
			`"state":"following"|"state":"waiting"|"connected":true|"connected":false|` +
				`"detail":"connected since 2026-07-01"|` +
				`"detail":"connected since 2026-07-01; its first event has not come yet"`,
			[]string{"Connected to", "its first event has not come yet."}, []string{"Not connected", `class="look"`}},
		{"replaying without an event", `"state":"following"|"state":"replaying"|"connected":true|"connected":false`,
			[]string{"Replaying", "past events of this server first"}, []string{"Not connected", `class="look"`}},
		{"silent",
			`"state":"following"|"state":"silent"|"detail":"connected since 2026-07-01"|` +
				`"detail":"connected, but no message came for 3 min"`,
			[]string{"Running, with warnings", "Silent",
				"Connected, but no message came for 3 min. The index gets no new events.", `class="look"`},
			[]string{"Not connected"}},
		{"an archive that stalls",
			`"replay":null|"replay":{"host":"archive.example","segments":4,"bytes":1000,"events":1000,"bytes_done":500,` +
				`"events_done":250,"events_per_second":0,"eta_seconds":0,"waiting_seconds":200}`,
			[]string{"waiting for the archive, which has sent nothing for 3 min 20 s", "0 per second"}, []string{" left"}},
		{"replay",
			`"replay":null|"replay":{"host":"archive.example","segments":4,"bytes":1000,"events":1000,"bytes_done":500,` +
				`"events_done":250,"events_per_second":30000,"eta_seconds":90}`,
			[]string{"Replaying the archive of archive.example", "90 s left", `width="25.00"`}, nil},
		{"a gap",
			`"gaps":[],"open_gaps":0|` +
				`"gaps":[{"id":1,"host":"h.example","from":5,"to":9,"why":"a hole","state":"open",` +
				`"found":"2026-07-01T00:00:00Z","tries":2,"note":"no archive has it"}],"open_gaps":1`,
			[]string{"1 open", "a hole", "no archive has it", "weft gaps retry", "<td>2026-07-01 00:00:00 UTC</td>"},
			[]string{"No open gaps", "T00:"}},
		{"a fault",
			`"faults":[]|"faults":[{"level":"error","message":"writing stops","detail":"disk full","do":"free some space",` +
				`"count":3,"first":"2026-07-01T00:00:00Z","last":"2026-07-01T01:00:00Z"}]`,
			[]string{"Recent warnings and errors", "writing stops", "disk full", "free some space",
				"3 times since 2026-07-01 00:00:00 UTC", "2026-07-01 01:00:00 UTC"}, []string{"T00:", "T01:"}},
		{"replica",
			`"replication":null|"replication":{"state":"behind","replica":"s3://bucket/weft","local_txid":1812,` +
				`"replica_txid":1810,"lag_transactions":2,"lag_bytes":4096,"lag_seconds":90,"log_seq":300000,` +
				`"durable_log_seq":299000,"segments_waiting":1,"segments_waiting_bytes":1000000,"uploaded_bytes":5000000,` +
				`"last_success":"2026-07-01T00:00:00Z","last_error":"503","last_error_at":"2026-07-01T00:01:00Z",` +
				`"do":"see that the store answers"}`,
			[]string{"behind", "2 transactions", "1,810", "1,812", "299,000", "see that the store answers", "503", "none yet",
				"Last upload to s3://bucket/weft: 2026-07-01 00:00:00 UTC.", "2026-07-01 00:01:00 UTC"},
			[]string{"does not replicate", "T00:"}},
		{"verified",
			`"replication":null|"replication":{"state":"ok","verification":{"outcome":"ok","faults":null,` +
				`"ended_at":"2026-07-01T02:03:00Z","age_seconds":2.5,"log_seq":299000,"segments":1}}`,
			[]string{"ok, 2026-07-01 02:03:00 UTC", "up to log row 299,000, with 1 segment. The copy was 2.5 s old"},
			[]string{"none yet", "class=\"look\""}},
		{"a copy",
			`"upstream":{|"following":{"state":"waiting","replica":"s3://bucket/weft","txid":"0000000000001812",` +
				`"log_seq":299000,"lag_seconds":3,"look_seconds":1,"missing_segments":2,"missing_bytes":4000000,` +
				`"last_error":"503","last_error_at":"2026-07-01T00:01:00Z","do":"wait for it"},"upstream":null,"x":{`,
			[]string{"Follower", "follows the replica of another weft", "s3://bucket/weft", "299,000", "0000000000001812",
				"4.0 MB", "wait for it", "503", "2026-07-01 00:01:00 UTC", "is a follower"},
			[]string{"does not replicate", "follows no upstream", "Upstream"}},
		{"verified badly",
			`"replication":null|"replication":{"state":"ok","verification":{"outcome":"failed","faults":["a checksum",` +
				`"a hole"],"ended_at":"2026-07-01T02:03:00Z"}}`,
			[]string{"failed, 2026-07-01 02:03", "A checksum; a hole", "class=\"look\""}, nil},
		{"far behind", `"lag_seconds":0.25|"lag_seconds":28857600|"lag":0.2}|"lag":28857600}`,
			[]string{"<h1>Behind the network</h1>", "334 days old", "Lag over the last 15 s: 334 days now, 334 days at most",
				"class=\"look\""}, []string{"Up to date"}},
		{"nothing read", `"lag_seconds":0.25,"seq":77|"lag_seconds":0,"seq":0`,
			[]string{"<h1>No event read yet</h1>", `<dd class="value">unknown</dd>`, `<span class="number">unknown</span>`,
				`aria-label="Lag: unknown`}, []string{"Up to date", "0 ms"}},
		{"a copy far behind",
			`"upstream":{|"following":{"state":"ok","replica":"s3://bucket/weft","lag_seconds":7200,"look_seconds":1},` +
				`"upstream":null,"x":{`, []string{"<h1>Behind the primary</h1>", "2 h ago"}, []string{"Up to date"}},
		{"a budget", `"total_bytes":100000000000|"total_bytes":70000000000,"budget_bytes":70000000000`,
			[]string{"Free of the 70.0 GB that --disk allows."}, []string{"on the disk with the data directory"}},
		{"free space unknown",
			`"free_bytes":60000000000,"total_bytes":100000000000|"free_bytes":null,"total_bytes":null|` +
				`"full_at":"2026-09-29T12:00:00Z"|"full_at":null`, []string{"does not report free space"}, []string{"ten years"}},
		{"growth unknown", `"bytes_per_day":1000000000|"bytes_per_day":null|"full_at":"2026-09-29T12:00:00Z"|"full_at":null`,
			[]string{"not known yet"}, []string{"in 60 days"}},
		{"full soon", `"full_at":"2026-09-29T12:00:00Z"|"full_at":"2026-08-02T12:00:00Z"`,
			[]string{"in 2 days", "class=\"look\""}, nil},
		{"full never", `"full_at":"2026-09-29T12:00:00Z"|"full_at":null`, []string{"in more than ten years"}, nil},
		{"shrinks", `"bytes_per_day":1000000000|"bytes_per_day":-5|"full_at":"2026-09-29T12:00:00Z"|"full_at":null`,
			[]string{"Disk full", "not growing", "has not grown"}, nil},
		{"new",
			`"levels":[{"level":0,"files":2,"links":40000,"bytes":1000000},` +
				`{"level":1,"files":1,"links":200000,"bytes":3000000}]|"levels":[]|` +
				`"points":[{"events":100,"links":90,"lag":0.1},{"events":400,"links":-5,"lag":2.5},` +
				`{"events":200,"links":50,"lag":0.2}]|"points":[]`,
			[]string{"No segment yet"}, []string{"<polyline"}},
		{"nothing known",
			`"free_bytes":60000000000,"total_bytes":100000000000|"free_bytes":null,"total_bytes":null|` +
				`"bytes_per_link":41.7,"write_amplification":1.8|"bytes_per_link":null,"write_amplification":null`,
			[]string{"Up to date"}, []string{"×", "Free space"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			body := wellStatus
			if c.changes != "" {
				parts := strings.Split(c.changes, "|")
				for i := 0; i < len(parts); i += 2 {
					if !strings.Contains(body, parts[i]) {
						t.Fatalf("the answer has no %s", parts[i])
					}
					body = strings.Replace(body, parts[i], parts[i+1], 1)
				}
			}
			s := serving(t, statusOf(body))
			s.Now = func() time.Time { return time.Date(2026, 7, 31, 12, 0, 0, 0, time.UTC) }
			page := browse(t, s, "/status", 200)
			main, _, _ := strings.Cut(page, `aria-label="For programs"`)
			for _, want := range c.want {
				if !strings.Contains(main, want) {
					t.Errorf("the page doesn't say %q", want)
				}
			}
			for _, not := range c.not {
				if strings.Contains(main, not) {
					t.Errorf("the page says %q", not)
				}
			}
			r := httptest.NewRequest(http.MethodGet, "/status", nil)
			w := httptest.NewRecorder()
			if s.ServeHTTP(w, r); w.Body.String() != body {
				t.Errorf("a program gets %s", w.Body)
			}
		})
	}
}

// TestStatusHostile: hostile text in any member of the answer stays text.
func TestStatusHostile(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(`"><script>alert(1)</script><b onclick="x" a='`)
	if err != nil {
		t.Fatal(err)
	}
	h := string(text)
	body := fmt.Sprintf(
		`{"version":%[1]s,"instance":%[1]s,"ready":false,"reason":%[1]s,"index":{"failed":%[1]s},"space":{"levels":[]},
		"upstream":{"host":%[1]s,"kind":%[1]s,"degraded":%[1]s,"detail":%[1]s,"slice":%[1]s,
		"hosts":[{"host":%[1]s,"kind":%[1]s,"failure":%[1]s,"retry_at":%[1]s},{"host":%[1]s}],"replay":{"host":%[1]s,"events":5}},
		"replication":{"state":%[1]s,"replica":%[1]s,"local_txid":5,"replica_txid":4,"last_success":%[1]s,
		"last_error":%[1]s,"last_error_at":%[1]s,"do":%[1]s,
		"verification":{"outcome":%[1]s,"faults":[%[1]s],"ended_at":"2026-07-01T02:03:00Z"}},
		"gaps":[{"host":%[1]s,"why":%[1]s,"state":%[1]s,"found":%[1]s,"note":%[1]s}],"open_gaps":1,
		"faults":[{"level":%[1]s,"message":%[1]s,"detail":%[1]s,"do":%[1]s,"count":2,"first":%[1]s,"last":%[1]s}],
		"history":{"every_seconds":5,"points":[]}}`, h)
	following := fmt.Sprintf(
		`"following":{"state":%[1]s,"replica":%[1]s,"txid":"0000000000000001","last_error":%[1]s,`+
			`"last_error_at":%[1]s,"do":%[1]s},"gaps":`, h)
	for _, body := range []string{body, strings.Replace(body, `"gaps":`, following, 1)} {
		page := browse(t, serving(t, statusOf(body)), "/status", 200)
		if n := strings.Count(page, "&lt;script&gt;alert(1)"); n < 20 {
			t.Errorf("only %d of the texts are shown", n)
		}
	}
}

// TestWords: figures are formatted for people.
func TestWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ got, want string }{
		{humanize.Bytes(1), "1 B"}, {humanize.Bytes(999), "999 B"}, {humanize.Bytes(1000), "1.0 kB"},
		{humanize.Bytes(999_960), "1.0 MB"}, {humanize.Bytes(5_400_000_000_000_000), "5400.0 TB"},
		{humanize.Figure(0), "0"}, {humanize.Figure(0.25), "0.2"}, {humanize.Figure(-1234.4), "-1,234"},
		{position(5), "5"}, {position(1_790_000_000_000_000), "2026-09-21 14:13:20 UTC"},
		{position(1 << 63), "9,223,372,036,854,775,807"},
		{perLink(10, 4), "2.5"}, {perLink(10, 0), "–"}, {humanize.Count(1, "row"), "1 row"},
		{humanize.Count(2000, "row"), "2,000 rows"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}
