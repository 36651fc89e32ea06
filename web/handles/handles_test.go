package handles

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/link"
)

// directory has some accounts and counts queries.
type directory struct {
	mu      sync.Mutex
	asked   int
	handles map[string]string // by DID
	err     error
	wait    bool // for ever
}

// ask counts a query, and returns the handles of the directory or its error.
func (d *directory) ask(ctx context.Context) (handles map[string]string, err error) {
	d.mu.Lock()
	d.asked++
	wait, handles, err := d.wait, d.handles, d.err
	d.mu.Unlock()
	if wait {
		<-ctx.Done()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", err, ctx.Err())
		}
		return nil, ctx.Err()
	}
	return handles, err
}

// count returns the number of queries. The lock orders a test's read after the goroutines that queried.
func (d *directory) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

// recover ends the failure of the directory, with handles by DID.
func (d *directory) recover(handles map[string]string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = nil
	d.wait = false
	d.handles = handles
}

func (d *directory) DID(ctx context.Context, handle string) (string, error) {
	handles, err := d.ask(ctx)
	if err != nil {
		return "", err
	}
	for did, h := range handles {
		if h == handle {
			return did, nil
		}
	}
	return "", errors.New("no such handle")
}

func (d *directory) Handle(ctx context.Context, did string) (string, error) {
	handles, err := d.ask(ctx)
	if err != nil {
		return "", err
	}
	return handles[did], nil
}

func (d *directory) Named(ctx context.Context, did, collection, name string) (string, error) {
	records, err := d.ask(ctx)
	if err != nil {
		return "", err
	}
	if rkey, ok := records[did+"/"+collection+"/"+name]; ok {
		return rkey, nil
	}
	return "", ErrNotNamed
}

const (
	alice = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
	bob   = "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb"
	carol = "did:plc:cccccccccccccccccccccccc"
)

func TestRemembers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &directory{handles: map[string]string{alice: "alice.test"}}
		h := New(Config{Directory: d})
		if got := h.Known(alice); got != "" {
			t.Fatalf("knows %q before it has asked", got)
		}
		for range 2 {
			if found := h.Handles(t.Context(), []string{alice, bob, carol}); len(found) != 1 || found[alice] != "alice.test" {
				t.Fatalf("found %v", found)
			}
		}
		if d.count() != 3 {
			t.Errorf("asked %d times for three accounts", d.count())
		}
		if h.Known(alice) != "alice.test" || h.Known(bob) != "" {
			t.Errorf("remembers %q and %q", h.Known(alice), h.Known(bob))
		}
		time.Sleep(keepNothing + time.Second)
		h.Handles(t.Context(), []string{alice, bob, carol})
		if d.count() != 5 {
			t.Errorf("asked %d times when two had to be asked again", d.count())
		}
		time.Sleep(keep)
		if h.Known(alice) != "" {
			t.Error("remembers a handle for longer than it holds")
		}
		asked := d.count()
		for range 2 {
			if did, err := h.DID(t.Context(), "Alice.test"); did != alice || err != nil {
				t.Errorf("%q, %v", did, err)
			}
		}
		time.Sleep(keepDID + time.Second)
		d.recover(map[string]string{bob: "alice.test"}) // bob now has this handle
		if did, err := h.DID(t.Context(), "alice.test"); did != bob || err != nil {
			t.Errorf("a minute later %q, %v", did, err)
		}
		if d.count() != asked+2 {
			t.Errorf("asked %d times for a handle, and again a minute later", d.count()-asked)
		}
		if _, err := h.DID(t.Context(), "nobody.test"); err == nil || errors.Is(err, ErrAway) {
			t.Errorf("an unknown handle: %v", err)
		}
		if _, err := h.DID(t.Context(), "not a handle"); err == nil {
			t.Error("of no handle: no error")
		}
	})
}

// TestAway: without internet access, it soon pauses, and then tries again.
func TestAway(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]*directory{
		"refused": {err: fmt.Errorf("%w: no route", ErrAway)},
		"silent":  {wait: true, err: ErrAway},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				h := New(Config{Directory: d})
				begin := time.Now()
				for range 3 * failures {
					if _, err := h.DID(t.Context(), "alice.test"); !errors.Is(err, ErrAway) {
						t.Fatal(err)
					}
				}
				if d.count() != failures || time.Since(begin) > failures*waitOne {
					t.Errorf("asked %d times in %v", d.count(), time.Since(begin))
				}
				if found := h.Handles(t.Context(), []string{alice, bob}); len(found) != 0 || d.count() != failures {
					t.Errorf("found %v, asked %d times", found, d.count())
				}
				time.Sleep(rest)
				d.recover(map[string]string{alice: "alice.test"})
				if did, err := h.DID(t.Context(), "alice.test"); did != alice || err != nil {
					t.Errorf("%q, %v after the network came back", did, err)
				}
			})
		})
	}
}

// TestSlow: at its timeout, a page gets the names found so far.
func TestSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{Directory: &directory{wait: true}})
		begin := time.Now()
		var dids []string
		for i := range 100 {
			dids = append(dids, fmt.Sprintf("did:plc:%024d", i))
		}
		if found := h.Handles(t.Context(), dids); len(found) != 0 || time.Since(begin) > waitMany {
			t.Errorf("found %v after %v", found, time.Since(begin))
		}
		time.Sleep(2 * waitOne) // the end of the look-ups
	})
}

func TestForgets(t *testing.T) {
	t.Parallel()
	h := New(Config{Directory: &directory{}})
	for i := range 2 * most {
		h.put(fmt.Sprint(i), "x.test", keep)
	}
	if n := len(h.young) + len(h.old); n > most {
		t.Errorf("remembers %d names", n)
	}
	if h.Known(fmt.Sprint(2*most-1)) == "" {
		t.Error("has forgotten the newest")
	}
}

// TestStrangersTripNothing: a failing domain of a stranger, and visitors who leave, cause no pause for other names.
func TestStrangersTripNothing(t *testing.T) {
	t.Parallel()
	good := world{plc + "/" + alice: document(alice, "at://alice.test"),
		"https://alice.test/.well-known/atproto-did": alice}
	for name, evil := range map[string]func(ctx context.Context) error{
		"answers 503":    func(context.Context) error { return fmt.Errorf("handles: the domain answers 503") },
		"answers never":  func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"has no servers": func(context.Context) error { return &net.DNSError{Err: "server misbehaving", IsTemporary: true} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := good.ask(nil)
				txt := n.txt
				n.txt = func(ctx context.Context, name string) ([]string, error) {
					if strings.HasSuffix(name, "evil.example") {
						return nil, evil(ctx)
					}
					return txt(ctx, name)
				}
				h := New(Config{Directory: n})
				for i := range 5 * failures {
					ctx, leave := context.WithTimeout(t.Context(), 100*time.Millisecond)
					_, _ = h.DID(ctx, fmt.Sprintf("a%d.evil.example", i))
					leave()
				}
				if h.resting() {
					t.Fatal("no further look-ups")
				}
				if did, err := h.DID(t.Context(), "alice.test"); did != alice || err != nil {
					t.Errorf("%q, %v", did, err)
				}
				time.Sleep(2 * waitOne)
			})
		})
	}
}

// TestResolverIsAway: only failures of the resolver itself count.
func TestResolverIsAway(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  *net.DNSError
		away bool
	}{
		{&net.DNSError{Err: "read udp 127.0.0.1:5->127.0.0.1:53: read: connection refused"}, true},
		{&net.DNSError{Err: "dial udp 1.1.1.1:53: connect: network is unreachable"}, true},
		{&net.DNSError{Err: "server misbehaving", IsTemporary: true}, false},
		{&net.DNSError{Err: "i/o timeout", IsTimeout: true}, false},
		{&net.DNSError{Err: "no such host", IsNotFound: true}, false},
	} {
		n := world{}.ask(nil)
		n.txt = func(context.Context, string) ([]string, error) { return nil, c.err }
		if _, err := n.DID(t.Context(), "alice.test"); errors.Is(err, ErrAway) != c.away {
			t.Errorf("%v: %v", c.err, err)
		}
	}
}

// TestOnceForAll: concurrent look-ups of one account make one request.
func TestOnceForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &directory{wait: true}
		h := New(Config{Directory: d})
		var visitors sync.WaitGroup
		for range 20 {
			visitors.Go(func() { h.Handles(t.Context(), []string{alice, alice, alice}) })
		}
		visitors.Wait()
		if d.count() != 1 {
			t.Errorf("asked %d times", d.count())
		}
		time.Sleep(2 * waitOne)
	})
}

// TestDomainIsBounded: a hundred names of one domain make ten requests to it, and don't delay another domain.
func TestDomainIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		asked := map[string]int{}
		var mu sync.Mutex
		n := world{}.ask(nil)
		n.strangers = &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			asked[domainOf(r.URL.Host)]++
			mu.Unlock()
			return world{}.RoundTrip(r)
		})}
		h := New(Config{Directory: n})
		dids := []string{"did:web:one.other.example2"}
		for i := range 100 {
			dids = append(dids, fmt.Sprintf("did:web:x%d.victim.example", i))
		}
		h.Handles(t.Context(), dids)
		mu.Lock()
		defer mu.Unlock()
		if asked["victim.example"] > domainBurst || asked["victim.example"] == 0 || asked["other.example2"] != 1 {
			t.Errorf("asked %v", asked)
		}
		if n := hosting["bsky.social"] * domainBurst; n < 100 {
			t.Errorf("a page of accounts at bsky.social gets %v names", n)
		}
	})
}

// roundTrip is a function as a transport.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestDomainsMemory(t *testing.T) {
	t.Parallel()
	d := newDomains(time.Now)
	for i := range 3 * domainsKept {
		done, err := d.enter(t.Context(), fmt.Sprintf("a.d%d.example", i))
		if err == nil {
			done()
		}
		if done, err := d.enter(t.Context(), fmt.Sprintf("d%d.example", i)); err == nil {
			done()
		}
	}
	for i := range 3 * domainsKept {
		if done, err := d.enter(t.Context(), fmt.Sprintf("x.d%d", i)); err == nil {
			done()
		}
	}
	if len(d.by) > domainsKept {
		t.Errorf("%d domains are kept", len(d.by))
	}
}

// FuzzDocument parses any document of an account: memory is bounded by the document, and the result is a valid handle
// or none.
func FuzzDocument(f *testing.F) {
	for _, seed := range []string{document(alice, "at://alice.test"),
		`{"id":"` + alice + `","alsoKnownAs":[` + strings.Repeat(`"",`, 1000) + `""]}`,
		strings.Repeat("[", maxDocument), `{"alsoKnownAs":` + strings.Repeat(`[`, 5000), "<html>", ""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > maxDocument {
			return // get truncates longer documents
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		handle, err := aliasIn(body, alice)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20+uint64(64*len(body)) {
			t.Errorf("%d bytes allocated for a document of %d", n, len(body))
		}
		if err == nil && handle != "" && !link.ValidHandle(handle) {
			t.Errorf("%q is no handle", handle)
		}
	})
}

// FuzzLine parses any answer of a handle's domain: the result is a DID or an error.
func FuzzLine(f *testing.F) {
	for _, seed := range []string{alice, alice + "\n", "did:web:x", "<html>", strings.Repeat("did:plc:", 500)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		n := world{"https://alice.test/.well-known/atproto-did": line}.ask(nil)
		did, err := n.claimed(t.Context(), "alice.test")
		if err == nil && (!link.ValidDID(did) || len(did) > maxLine) {
			t.Errorf("%q is no DID", did)
		}
	})
}
