package sim

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bluesky-social/jetstream/segment"
	"github.com/jcalabro/atmos/cbor"
)

func hashEvents(n *Network, k int) string {
	h := sha256.New()
	for range k {
		e := n.Next()
		h.Write(e.CBOR)
		e.CBOR = nil // printing it would take most of the test's time
		fmt.Fprintf(h, "%+v\n", e)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func TestNetworkDeterministic(t *testing.T) {
	t.Parallel()
	configs := map[string]NetworkConfig{
		"zero":    {},
		"seed":    {Seed: 1},
		"small":   {Seed: 1, Accounts: 7},
		"churn":   {Seed: 1, Churn: 20},
		"future":  {Seed: 1, FutureTIDs: 0.01},
		"rate":    {Seed: 1, RatePerSec: 100_000},
		"longkey": {Seed: 1, Churn: 20, MaxRkey: 512},
	}
	seen := map[string]string{}
	for name, cfg := range configs {
		k := 4000
		if name == "zero" {
			k = 20_000
		}
		sum := hashEvents(NewNetwork(cfg), k)
		if again := hashEvents(NewNetwork(cfg), k); again != sum {
			t.Errorf("%s: same configuration, different events", name)
		}
		if other, ok := seen[sum]; ok {
			t.Errorf("%s and %s: different configurations, same events", name, other)
		}
		seen[sum] = name
	}
}

// TestNetworkPinned compares the bytes of the zero configuration with those of earlier versions of this package. A
// change of the generator changes this sum and every fixture that was made with it.
func TestNetworkPinned(t *testing.T) {
	t.Parallel()
	const want = "30dbbd94c6d45ce97dff3266f5a99271bc2b189ad8e61753c8b16193cca8f406"
	if got := hashEvents(NewNetwork(NetworkConfig{}), 20_000); got != want {
		t.Errorf("first 20,000 events of the zero configuration: %s, pinned %s", got, want)
	}
}

func TestRecordsAreCanonical(t *testing.T) {
	t.Parallel()
	n := NewNetwork(NetworkConfig{Seed: 5, Accounts: 300, Churn: 10})
	kinds := map[string]int{}
	for range 30_000 {
		e := n.Next()
		if e.CBOR == nil {
			continue
		}
		kinds[e.Collection]++
		v, err := cbor.Unmarshal(e.CBOR)
		if err != nil {
			t.Fatalf("%s: %v", e.Collection, err)
		}
		again, err := cbor.Marshal(v)
		if err != nil {
			t.Fatalf("%s: %v", e.Collection, err)
		}
		if !bytes.Equal(again, e.CBOR) {
			t.Fatalf("%s isn't canonical:\n%x\n%x", e.Collection, e.CBOR, again)
		}
		if cid := cbor.ComputeCID(cbor.CodecDagCBOR, e.CBOR); cid.String() != e.CID {
			t.Fatalf("%s: CID %s, want %s", e.Collection, e.CID, cid.String())
		}
		if got := v.(map[string]any)["$type"]; got != e.Collection {
			t.Fatalf("$type %v in %s", got, e.Collection)
		}
		got, err := appendRecordJSON(nil, e.CBOR)
		if err != nil {
			t.Fatalf("%s: %v", e.Collection, err)
		}
		back, err := cbor.FromJSON(got)
		if err != nil {
			t.Fatalf("%s: %v in %s", e.Collection, err, got)
		}
		if again, err = cbor.Marshal(back); err != nil || !bytes.Equal(again, e.CBOR) {
			t.Fatalf("%s: JSON doesn't lead back to the record: %v\n%s", e.Collection, err, got)
		}
	}
	for _, c := range collections {
		if kinds[c.nsid] == 0 {
			t.Errorf("no %s among 30,000 events", c.nsid)
		}
	}
}

func TestEventsFitASegment(t *testing.T) {
	t.Parallel()
	n := NewNetwork(NetworkConfig{Seed: 6, Accounts: 300, Churn: 20})
	for range 30_000 {
		e := n.Next()
		if err := segment.ValidateEvent(toSegment(&e)); err != nil {
			t.Fatal(err)
		}
		se := toSegment(&e)
		back, err := fromSegment(&se)
		if err != nil {
			t.Fatal(err)
		}
		if !same(back, e) || back.Resync != e.Resync {
			t.Fatalf("through a segment:\n got %+v\nwant %+v", back, e)
		}
	}
}

func TestMix(t *testing.T) {
	t.Parallel()
	const k = 200_000
	n := NewNetwork(NetworkConfig{Seed: 7, Accounts: 20_000})
	var commits, creates float64
	count := map[string]float64{}
	targets := map[string]int{}
	for range k {
		e := n.Next()
		count[string(e.Kind)]++
		if e.Kind != KindCommit {
			continue
		}
		commits++
		count[e.Operation]++
		if e.Operation == OpCreate && !e.Resync {
			creates++
			count[e.Collection]++
		}
		if e.Collection == "app.bsky.feed.like" && e.Operation == OpCreate && !e.Resync {
			v, err := cbor.Unmarshal(e.CBOR)
			if err != nil {
				t.Fatal(err)
			}
			targets[v.(map[string]any)["subject"].(map[string]any)["uri"].(string)]++
		}
	}
	tests := []struct {
		name     string
		got      float64
		from, to float64
	}{
		{"creates", count[OpCreate] / commits, 0.945, 0.965},
		{"deletes", count[OpDelete] / commits, 0.033, 0.041},
		{"updates", count[OpUpdate] / commits, 0.004, 0.008},
		{"likes", count["app.bsky.feed.like"] / creates, 0.64, 0.68},
		{"posts", count["app.bsky.feed.post"] / creates, 0.12, 0.14},
		{"reposts", count["app.bsky.feed.repost"] / creates, 0.08, 0.10},
		{"follows", count["app.bsky.graph.follow"] / creates, 0.07, 0.09},
		{"accounts", count[string(KindAccount)] / k, 0.001, 0.003},
		{"identities", count[string(KindIdentity)] / k, 0.002, 0.005},
		{"syncs", count[string(KindSync)] / k, 0.0001, 0.0003},
	}
	for _, tt := range tests {
		if tt.got < tt.from || tt.got > tt.to {
			t.Errorf("%s: %.4f, want %.4f to %.4f", tt.name, tt.got, tt.from, tt.to)
		}
	}
	top := 0
	for _, c := range targets {
		top = max(top, c)
	}
	if share := float64(top) / count["app.bsky.feed.like"]; share < 0.005 || share > 0.1 || len(targets) < 10_000 {
		t.Errorf("most liked post has %.4f of likes, %d posts liked: not skewed as it should be", share, len(targets))
	}
}

// TestSyntaxAndOrder checks the rules of the protocol: names are valid, times and revs increase.
func TestSyntaxAndOrder(t *testing.T) {
	t.Parallel()
	n := NewNetwork(NetworkConfig{Seed: 8, Accounts: 400, Churn: 10, MaxRkey: 512, RatePerSec: 200_000})
	revs, rkeys := map[string]string{}, map[string]string{}
	var last Event
	longest, notTID := 0, 0
	for range 50_000 {
		e := n.Next()
		if e.Seq != last.Seq+1 || e.TimeUS <= last.TimeUS {
			t.Fatalf("seq %d at %d follows seq %d at %d", e.Seq, e.TimeUS, last.Seq, last.TimeUS)
		}
		last = e
		if !strings.HasPrefix(e.DID, "did:plc:") && !strings.HasPrefix(e.DID, "did:web:") || !utf8.ValidString(e.DID) {
			t.Fatalf("DID %q", e.DID)
		}
		if e.Rev != "" {
			if us, ok := parseTID(e.Rev); !ok || us > e.TimeUS {
				t.Fatalf("rev %q of an event at %d", e.Rev, e.TimeUS)
			}
			if e.Rev < revs[e.DID] {
				t.Fatalf("rev %s after %s", e.Rev, revs[e.DID])
			}
			revs[e.DID] = e.Rev
		}
		if e.Kind != KindCommit || e.Operation != OpCreate || e.Resync || e.Late {
			continue
		}
		longest = max(longest, len(e.Rkey))
		us, ok := parseTID(e.Rkey)
		if !ok {
			notTID++
			if strings.Trim(e.Rkey, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:~-") != "" ||
				len(e.Rkey) > 512 {
				t.Fatalf("rkey %q", e.Rkey)
			}
			continue
		}
		if math.Abs(float64(us-e.TimeUS)) > 3e6 {
			t.Fatalf("rkey %s at %d in an event at %d", e.Rkey, us, e.TimeUS)
		}
		gate := strings.HasSuffix(e.Collection, "gate") // has the key of its post
		if e.Rkey < rkeys[e.DID] || !gate && e.Rkey == rkeys[e.DID] {
			t.Fatalf("rkey %s after %s", e.Rkey, rkeys[e.DID])
		}
		rkeys[e.DID] = e.Rkey
	}
	if longest != 512 || notTID == 0 {
		t.Errorf("longest rkey %d, %d that aren't TIDs", longest, notTID)
	}
}

// parseTID returns the time in a TID, unix µs.
func parseTID(s string) (us int64, ok bool) {
	if len(s) != 13 || strings.IndexByte(sortAlphabet, s[0]) >= 16 {
		return 0, false
	}
	var v uint64
	for i := range len(s) {
		d := strings.IndexByte(sortAlphabet, s[i])
		if d < 0 {
			return 0, false
		}
		v = v<<5 | uint64(d)
	}
	return int64(v >> 10), true
}

func TestFutureTIDs(t *testing.T) {
	t.Parallel()
	n := NewNetwork(NetworkConfig{FutureTIDs: 0.05})
	ahead := 0
	for range 5000 {
		e := n.Next()
		if us, ok := parseTID(e.Rkey); ok && us > e.TimeUS+300*86400*1e6 {
			ahead++
		}
	}
	if ahead < 100 || ahead > 500 {
		t.Errorf("%d of 5,000 rkeys in the far future, want about 250", ahead)
	}
}

func BenchmarkNetwork(b *testing.B) {
	n := NewNetwork(NetworkConfig{Accounts: 100_000})
	b.ReportAllocs()
	var size int64
	for b.Loop() {
		size += int64(len(n.Next().CBOR))
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(size)/float64(b.N), "B/record")
}
