package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"weft.dev/weft/db"
	"weft.dev/weft/db/dbtest"
)

var chaosFor = flag.Duration("chaos", 0, "how long TestChaos attacks a weft; 0 leaves it out")

const (
	// chaosMemory is the memory of the smallest recommended machine.
	chaosMemory = 1 << 30
	chaosGoal   = "700MiB" // GOMEMLIMIT
	chaosEvents = 1_000    // steps of the upstream a second

	// The limits below compare with the state before the attack. Memory also grows by links in memory since then, up to
	// three times the size of a seal, and by caches.
	chaosMoreMemory     = 256 << 20
	chaosMoreGoroutines = 20
	chaosMoreFiles      = 64 // new segments, with two descriptors each

	chaosCount  = 5 * time.Second // limit of a plain count of a well-behaved client, on two shared cores
	chaosSettle = 2 * time.Minute
)

// TestChaos attacks a weft in many ways at once: accounts that change their status repeatedly, records of very many
// links and sources, huge records, and clients that send bombs, endless bodies and heavy queries, in large numbers. It
// survives in the memory of a small machine, and answers plain counts meanwhile. Afterwards the counts equal the
// model's, and goroutines, descriptors and memory are as before.
func TestChaos(t *testing.T) {
	if *chaosFor == 0 {
		t.Skip("runs with -chaos 60s: it takes the whole machine")
	}
	needs(t, buildWeft)
	h := serveHostile(t)
	h.begin()
	data := t.TempDir()
	w := &weft{data: data, child: start(t, newJournal(t, "weft"), []string{"GOMEMLIMIT=" + chaosGoal}, "weft", "serve",
		"--jetstream", h.URL, "--from", "start", "--data", data, "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0",
		"--bodies", "window")}
	w.up(t)
	caughtUp(t, w, h)
	before := standing(t, w)
	t.Logf("before: %+v", before)

	ctx, cancel := context.WithTimeout(t.Context(), *chaosFor)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() {
		for tick := time.NewTicker(time.Second / 100); ctx.Err() == nil; <-tick.C {
			for range chaosEvents / 100 {
				h.step()
			}
		}
	})
	host := strings.TrimPrefix(w.queries, "http://")
	attacks := map[string]*atomic.Int64{}
	for name, a := range chaosClients {
		attacks[name] = new(atomic.Int64)
		for i := range a.clients {
			all.Go(func() {
				r := rand.New(rand.NewPCG(uint64(i), 1))
				for ctx.Err() == nil {
					a.attack(ctx, host, r)
					attacks[name].Add(1)
					sleep(ctx, a.pause)
				}
			})
		}
	}
	counts := probe(ctx, w)
	all.Wait()
	for name, n := range attacks {
		t.Logf("%s: %d times", name, n.Load())
	}
	t.Logf("upstream: %d events, %v", len(h.log), h.counted)
	slices.Sort(counts.took)
	t.Logf("plain counts: %d, at the median %s, 99 of 100 within %s, at most %s; %d failed, the last: %v",
		len(counts.took), counts.took[len(counts.took)/2],
		counts.took[len(counts.took)*99/100], counts.took[len(counts.took)-1], counts.failed, counts.err)
	if counts.failed > 0 || counts.took[len(counts.took)-1] > chaosCount {
		t.Errorf("plain counts are not answered within %s", chaosCount)
	}

	caughtUp(t, w, h)
	eventually(t, chaosSettle, "weft is what it was before", func() error { return standing(t, w).beyond(before) },
		w.child)
	t.Logf("after: %+v", standing(t, w))
	if peak := processMemory(t, w, "VmHWM"); peak > chaosMemory {
		t.Errorf("at its peak it took %d MB", peak>>20)
	}
	if _, err := get(w.queries + "/readyz"); err != nil {
		t.Error(err)
	}
	compareCounts(t, &h.model, w)
	w.endsInOrder(t)
}

// caughtUp waits until weft has committed the whole log and no change of an account is in progress.
func caughtUp(t *testing.T, w *weft, h *hostile) {
	t.Helper()
	eventually(t, chaosSettle, "weft has all", func() error {
		committed, err := metric(w.metrics, "weft_ingest_committed_seq")
		if err != nil {
			return err
		}
		if tip := h.tip(); int64(committed) < tip {
			return fmt.Errorf("it is at %d of %d", int64(committed), tip)
		}
		if jobs, err := metric(w.metrics, "weft_jobs"); err != nil || jobs > 0 {
			return fmt.Errorf("%.0f jobs are under way: %w", jobs, err)
		}
		return nil
	}, w.child)
}

// state is the resources that must be free again after an attack.
type state struct{ goroutines, files, memory int64 }

func standing(t *testing.T, w *weft) (s state) {
	t.Helper()
	for name, at := range map[string]*int64{"go_goroutines": &s.goroutines, "process_open_fds": &s.files} {
		v, err := metric(w.metrics, name)
		if err != nil {
			t.Fatal(err)
		}
		*at = int64(v)
	}
	s.memory = processMemory(t, w, "VmRSS")
	return s
}

func (s state) beyond(before state) error {
	if s.goroutines > before.goroutines+chaosMoreGoroutines || s.files > before.files+chaosMoreFiles ||
		s.memory > before.memory+chaosMoreMemory {
		return fmt.Errorf("it is at %+v, and was at %+v", s, before)
	}
	return nil
}

// processMemory returns a figure of the kernel about a process, in bytes.
func processMemory(t *testing.T, w *weft, name string) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kb int64
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			if _, err := fmt.Sscan(value, &kb); err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatalf("the kernel says nothing of %s", name)
	return 0
}

// compareCounts compares the count of each list with the model.
func compareCounts(t *testing.T, m *dbtest.Model, w *weft) {
	t.Helper()
	lists, x, wrong := m.Lists(), index{w.queries}, 0
	for list, links := range lists {
		n, err := x.CountLinks(t.Context(), list.Target, list.Source)
		if err != nil {
			t.Fatal(err)
		}
		dids, err := x.CountDIDs(t.Context(), list.Target, list.Source)
		if err != nil {
			t.Fatal(err)
		}
		if n != int64(len(links)) || dids != dbtest.DIDs(links) {
			if wrong++; wrong < 10 {
				t.Errorf("%s has %d links of %d accounts from %+v, and should have %d of %d", list.Target, n, dids, list.Source,
					len(links), dbtest.DIDs(links))
			}
		}
	}
	if links, err := metric(w.metrics, "weft_links"); err != nil || int64(links) != countLinks(lists) {
		t.Errorf("it has %.0f links, and should have %d: %v", links, countLinks(lists), err)
	}
	t.Logf("%d lists of %d links compared, %d wrong", len(lists), countLinks(lists), wrong)
}

func countLinks(lists map[dbtest.List][]dbtest.Link) (n int64) {
	for _, links := range lists {
		n += int64(len(links))
	}
	return n
}

// probed is the result of a well-behaved client.
type probed struct {
	took   []time.Duration
	failed int
	err    error
}

// probe requests a count repeatedly, from its own address.
func probe(ctx context.Context, w *weft) (p probed) {
	client := &http.Client{Timeout: 2 * chaosCount, Transport: from("127.0.0.2")}
	q := subject(hostilePost, db.Source{Collection: "app.bsky.feed.like", Path: "subject.uri"})
	for ctx.Err() == nil {
		began := time.Now()
		res, err := client.Get(w.queries + xrpc + "getBacklinksCount?" + q.Encode())
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if err == nil && res.StatusCode != http.StatusOK {
				err = fmt.Errorf("status %s", res.Status)
			}
		}
		p.took = append(p.took, time.Since(began))
		if err != nil {
			p.failed++
			p.err = err
		}
		sleep(ctx, 50*time.Millisecond)
	}
	return p
}

// from returns a transport that connects from an address of the loopback network.
func from(address string) *http.Transport {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: 5 * time.Second}
	return &http.Transport{DialContext: d.DialContext}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// chaosClients are the kinds of attackers: their number, the wait between two attacks, and one attack.
var chaosClients = map[string]struct {
	clients int
	pause   time.Duration
	attack  func(ctx context.Context, host string, r *rand.Rand)
}{
	"WebSocket bombs":            {10, 200 * time.Millisecond, attackBomb},
	"subscribers that read slow": {10, time.Second, attackSlowSubscriber},
	"bodies that never end":      {50, time.Second, attackSlowBody},
	"crowds of connections":      {2, time.Second, attackCrowd},
	"heavy questions":            {20, 10 * time.Millisecond, attackHeavy},
	"clients that give up":       {5, 10 * time.Millisecond, attackGiveUp},
}

// attackBomb sends a large message that is larger when decoded.
func attackBomb(ctx context.Context, host string, _ *rand.Rand) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, res, err := websocket.Dial(ctx, "ws://"+host+"/subscribe?instant=true", nil)
	if err != nil {
		if res != nil && res.Body != nil {
			_ = res.Body.Close()
		}
		return
	}
	defer func() { _ = c.CloseNow() }()
	text := `{"type":"options_update","payload":{"wantedSubjects":[` + strings.Repeat("{},", 5<<20/3-100) + `{}]}}`
	if c.Write(ctx, websocket.MessageText, []byte(text)) == nil {
		_, _, _ = c.Read(ctx)
	}
}

// attackSlowSubscriber subscribes to everything and hardly reads.
func attackSlowSubscriber(ctx context.Context, host string, _ *rand.Rand) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	c, res, err := websocket.Dial(ctx, "ws://"+host+"/subscribe?cursor=0", nil)
	if err != nil {
		if res != nil && res.Body != nil {
			_ = res.Body.Close()
		}
		return
	}
	defer func() { _ = c.CloseNow() }()
	for ctx.Err() == nil {
		if _, _, err := c.Read(ctx); err != nil {
			return
		}
		sleep(ctx, 500*time.Millisecond)
	}
}

// attackSlowBody sends nearly all of a body and then waits.
func attackSlowBody(ctx context.Context, host string, _ *rand.Rand) {
	c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", host)
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	head := "POST /xrpc/dev.weft.links.batchCounts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1048576\r\n\r\n"
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, head+strings.Repeat(" ", 1_048_000)); err != nil {
		return
	}
	_, _ = io.ReadAll(io.LimitReader(c, 1<<20)) // until weft closes the connection
}

// attackCrowd opens very many idle connections.
func attackCrowd(ctx context.Context, host string, r *rand.Rand) {
	d := net.Dialer{Timeout: 2 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+r.IntN(200)))}}
	var all []net.Conn
	for range 500 {
		c, err := d.DialContext(ctx, "tcp", host)
		if err != nil {
			break
		}
		all = append(all, c)
	}
	sleep(ctx, 5*time.Second)
	for _, c := range all {
		_ = c.Close()
	}
}

// heavyQuestion returns an expensive query, as JSON or as a page.
func heavyQuestion(host string, r *rand.Rand) (*http.Request, error) {
	post, did := url.QueryEscape(hostilePost), "did:plc:victimvictimvictimvictim"
	path := [...]string{
		"/xrpc/blue.microcosm.links.getBacklinkDids?limit=1000&source=app.bsky.feed.like:subject.uri&subject=" + post,
		"/xrpc/blue.microcosm.links.getBacklinks?limit=1000&source=app.bsky.feed.like:subject.uri&subject=" + post,
		"/xrpc/blue.microcosm.links.getManyToManyCounts?limit=1000&source=app.evil.tiny:a[]&pathToOther=a[]&subject=" +
			url.QueryEscape("https://a.b/7"),
		"/xrpc/dev.weft.links.getBacklinks?hydrate=true&limit=100&source=app.evil.huge:subject&subject=" + post,
		"/links/all?target=" + url.QueryEscape("at://did:plc:victimvictimvictimvictim/app.bsky.feed.post/3kaaaaaaaaaab"),
		"/links/count/distinct-dids?collection=app.bsky.feed.like&path=.subject.uri&target=" + post,
		"/xrpc/dev.weft.links.getAccountCounts?did=" + did,
		"/status",
		"/",
	}[r.IntN(9)]
	req, err := http.NewRequest(http.MethodGet, "http://"+host+path, nil)
	if err == nil && r.IntN(3) == 0 {
		req.Header.Set("Accept", "text/html")
	}
	return req, err
}

// attackHeavy sends an expensive query from one of many addresses, and reads the answer or doesn't.
func attackHeavy(ctx context.Context, host string, r *rand.Rand) {
	askHeavy(ctx, host, r, 20*time.Second)
}

// attackGiveUp sends an expensive query and disconnects.
func attackGiveUp(ctx context.Context, host string, r *rand.Rand) {
	askHeavy(ctx, host, r, time.Duration(r.IntN(100))*time.Millisecond)
}

func askHeavy(ctx context.Context, host string, r *rand.Rand, within time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	req, err := heavyQuestion(host, r)
	if err != nil {
		panic(err)
	}
	transport := from(fmt.Sprintf("127.0.3.%d", 1+r.IntN(200)))
	defer transport.CloseIdleConnections()
	res, err := transport.RoundTrip(req.WithContext(ctx))
	if err != nil {
		return
	}
	defer func() { _ = res.Body.Close() }()
	if r.IntN(4) == 0 {
		sleep(ctx, 2*time.Second) // while its answer waits
	}
	var any json.RawMessage
	_ = json.NewDecoder(io.LimitReader(res.Body, 8<<20)).Decode(&any)
}
