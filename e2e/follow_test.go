package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"weft.dev/weft/ingest/sim"
)

const (
	// followKills is the number of kills of the primary or a follower.
	followKills = 6
	// followTotal suffices for the kills after followBacklog; the comparisons over HTTP, of two followers, take as long as
	// the rest.
	followBacklog = 1_000
	followTotal   = 4_000
	followRate    = 1_000
)

// TestFollowProcess kills a primary that replicates to an S3 server, and one of its two followers, repeatedly during
// ingest of a synthetic network. In the end both followers equal the network.
func TestFollowProcess(t *testing.T) {
	onlyThorough(t)
	t.Parallel()
	needs(t, buildWeft)
	upstream := serveNetwork(t, sim.ServerConfig{
		NetworkConfig: sim.NetworkConfig{Seed: 9, Accounts: 300, Churn: 10, RatePerSec: followRate},
		Backlog:       followBacklog, EventsPerSegment: processSegment, Rate: followRate, Total: followTotal,
	})
	data, config := t.TempDir(), filepath.Join(t.TempDir(), "litestream.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `levels: [{interval: 1s}, {interval: 10s}]
dbs:
  - path: %s
    replica:
      {type: s3, bucket: bucket, path: weft, endpoint: '%s', region: us-east-1, access-key-id: key, secret-access-key: secret, sync-interval: 200ms}
`, filepath.Join(data, "weft.db"), startS3(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	journals := map[string]*journal{"primary": newJournal(t, "primary"), "follower": newJournal(t, "follower"),
		"another": newJournal(t, "another follower")}
	copies := map[string]string{"follower": t.TempDir(), "another": t.TempDir()}
	startPrimary := func() *weft {
		w := &weft{data: data, child: start(t, journals["primary"], nil, "weft", "serve", "--jetstream", upstream.URL(),
			"--from", "start", "--data", data,
			"--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--replicate", config)}
		return w
	}
	startFollower := func(name string) *weft {
		return &weft{data: copies[name], child: start(t, journals[name], nil, "weft", "serve", "--follow", config, "--data",
			copies[name],
			"--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--follow-every", "200ms")}
	}
	primary := startPrimary()
	primary.up(t)
	eventually(t, time.Minute, "something is replicated", func() error {
		var st struct {
			Replication struct {
				Durable uint64 `json:"durable_log_seq"`
			}
		}
		if err := primary.status(&st); err != nil {
			return err
		}
		if st.Replication.Durable == 0 {
			return fmt.Errorf("nothing is")
		}
		return nil
	}, primary.child)
	follower, another := startFollower("follower"), startFollower("another")
	for i := range followKills {
		time.Sleep(rand.N(killWithin)) // a random moment is the purpose
		if i%2 == 0 {
			follower.kill()
			follower = startFollower("follower")
		} else {
			primary.kill()
			primary = startPrimary()
		}
	}
	primary.up(t)
	eventually(t, time.Minute, "the network is complete", func() error { return complete(upstream, followTotal) },
		primary.child)
	tr := newOracle()
	if err := upstream.Replay(1, tr.apply); err != nil {
		t.Fatal(err)
	}
	primary.reaches(t, tr.tip, time.Minute)
	primary.quiet(t)
	seq := primary.logSeq(t)
	for name, f := range map[string]*weft{"follower": follower, "another": another} {
		f.up(t)
		eventually(t, time.Minute, "the follower has what its primary has", func() error {
			if at := f.logSeq(t); at != seq {
				return fmt.Errorf("it is at log row %d of %d", at, seq)
			}
			return nil
		}, f.child, primary.child)
		if err := tr.Compare(t.Context(), index{f.queries}, depth(20)); err != nil {
			t.Errorf("%s and the model differ: %v", name, err)
		}
		f.tellsItsLag(t, seq)
		if code := f.terminate(t, downWithin); code != 0 {
			t.Errorf("%s ended with %d after SIGTERM", name, code)
		}
	}
	if code := primary.terminate(t, downWithin); code != 0 {
		t.Errorf("the primary ended with %d after SIGTERM", code)
	}
	// A writer refuses a follower's copy.
	second := start(t, newJournal(t, "writer of a copy"), nil, "weft", "serve", "--jetstream", upstream.URL(), "--data",
		copies["follower"], "--listen", "127.0.0.1:0")
	if code := second.exit(t, upWithin); code != 1 {
		t.Errorf("a weft that would write to a copy ended with %d", code)
	}
	if _, ok := second.line("is a follower's copy"); !ok {
		t.Error("a weft that would write to a copy doesn't say why it can't")
	}
}

// startS3 starts an S3 server in this process and returns its URL.
func startS3(t *testing.T) string {
	t.Helper()
	objects := s3mem.New()
	if err := objects.CreateBucket("bucket"); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(gofakes3.New(objects).Server())
	t.Cleanup(s.Close)
	return s.URL
}

func (w *weft) status(into any) error {
	body, err := get(w.queries + "/status?format=json")
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

func (w *weft) logSeq(t *testing.T) uint64 {
	t.Helper()
	var st struct {
		Index struct {
			LogSeq uint64 `json:"log_seq"`
		}
	}
	if err := w.status(&st); err != nil {
		t.Fatal(err)
	}
	return st.Index.LogSeq
}

// tellsItsLag checks the headers of a follower's answers, of failures too, and its status.
func (w *weft) tellsItsLag(t *testing.T, seq uint64) {
	t.Helper()
	for _, path := range []string{"/", "/status",
		"/xrpc/blue.microcosm.links.getBacklinksCount?subject=did:plc:a&source=a.b.c:d", "/nothing", "/xrpc/_health",
		"/readyz"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.queries+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/html") // pages too
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK && path != "/nothing" {
			t.Errorf("%s answers %s", path, res.Status)
		}
		lag, err := strconv.ParseFloat(res.Header.Get("Weft-Lag"), 64)
		if at := res.Header.Get("Weft-Seq"); err != nil || lag < 0 || lag > 600 || at != fmt.Sprint(seq) {
			t.Errorf("%s answers with Weft-Lag %q, Weft-Seq %q", path, res.Header.Get("Weft-Lag"), at)
		}
	}
	var st struct {
		Following struct {
			State  string
			LogSeq uint64 `json:"log_seq"`
		}
	}
	if err := w.status(&st); err != nil || st.Following.State != "ok" || st.Following.LogSeq != seq {
		t.Errorf("/status says of the replica that is followed: %+v, %v", st, err)
	}
	if lag, err := metric(w.metrics, "weft_follow_lag_seconds"); err != nil || lag < 0 {
		t.Errorf("weft_follow_lag_seconds %v, %v", lag, err)
	}
}
