package db

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"weft.dev/weft/link"
)

func TestIDOrder(t *testing.T) {
	t.Parallel()
	ids := []uint64{0, 1, 2, 255, 256, 257, 65535, 65536, 1 << 24, 1<<32 - 1, 1 << 32, 1 << 40, 1 << 63, ^uint64(0)}
	var last []byte
	for i, id := range ids {
		key := appendID(nil, id)
		if i > 0 && bytes.Compare(last, key) >= 0 {
			t.Errorf("%d does not sort behind %d", id, ids[i-1])
		}
		if got, rest, err := cutID(append(key, 7)); got != id || err != nil || !bytes.Equal(rest, []byte{7}) {
			t.Errorf("%d comes back as %d, %v, %v", id, got, rest, err)
		}
		last = key
	}
}

// place is that of a TID whose time is the rank.
func place(rank, clock uint64) []byte {
	return appendPlace(nil, rank, appendRkey(nil, string(link.AppendTID(nil, rank<<clockBits|clock))))
}

func TestPositionOrder(t *testing.T) {
	t.Parallel()
	// In the order of a list: newest first, then by account, then by record key.
	in := []position{
		{2000, 1, appendRkey(nil, "self")},
		{1000, 1, appendRkey(nil, "3m2qrrgw22222")},
		{1000, 1, appendRkey(nil, "self")},
		{1000, 1, place(1000, 7)},
		{1000, 1, place(1000, 1023)},
		{1000, 300, appendRkey(nil, "3m2qrrgw22222")},
		{0, 1, appendRkey(nil, "a")},
		{0, 1, place(0, 0)},
	}
	for i := range in {
		if again := appendPlace(nil, in[i].rank, in[i].rkey()); !bytes.Equal(again, in[i].place) {
			t.Errorf("position %d: the place %x becomes %x by way of its record key", i, in[i].place, again)
		}
		key := in[i].append(nil)
		if i > 0 && bytes.Compare(in[i-1].append(nil), key) >= 0 {
			t.Errorf("position %d does not sort behind the one before", i)
		}
		p, rest, err := cutPosition(key)
		if err != nil || len(rest) > 0 || p.rank != in[i].rank || p.actor != in[i].actor || !bytes.Equal(p.place, in[i].place) {
			t.Errorf("position %d comes back as %v, %v, %v", i, p, rest, err)
		}
		if checkPosition(key) != nil || checkPosition(key[:len(key)-1]) == nil || checkPosition(append(key, 0)) == nil {
			t.Errorf("position %d: a position passes exactly when it is whole", i)
		}
	}
}

func TestRankOf(t *testing.T) {
	t.Parallel()
	const now = 1_770_000_000_000_000
	tid := func(us int64) []byte { return appendRkey(nil, string(link.AppendTID(nil, uint64(us)<<10))) }
	for _, tc := range []struct {
		name    string
		rkey    []byte
		rank    uint64
		derived bool
	}{
		{"a TID from the past", tid(now - 1_000_000_000), now - 1_000_000_000, true},
		{"a TID a little ahead, by clocks that differ", tid(now + 299_000_000), now + 299_000_000, true},
		{"a TID from the future", tid(now + 301_000_000), now, false},
		{"not a TID", appendRkey(nil, "self"), now, false},
	} {
		if rank, derived := rankOf(tc.rkey, now); rank != tc.rank || derived != tc.derived {
			t.Errorf("%s: rank %d (%t), want %d (%t)", tc.name, rank, derived, tc.rank, tc.derived)
		}
	}
}

var targets = []string{
	"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "did:web:example.com",
	"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post",
	"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post/3m2qrrgw22222", "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.actor.profile/self",
	"at://example.com/app.bsky.feed.post/3m2qrrgw22222", "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post/3m2qrrgw22222#frag",
	"https://example.com/a?b=c", "mailto:a@example.com",
}

// FuzzTarget: every target comes back from its key as it went in, and the key ends itself.
func FuzzTarget(f *testing.F) {
	for _, target := range targets {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, in string) {
		target, kind := link.Parse(in)
		if kind == link.None {
			t.Skip()
		}
		s := &Store{}
		s.defaults(Config{})
		s.version.Store(emptyVersion())
		fd := &fold{s: &s.Index, w: s, d: newDelta(emptyVersion())}
		key := fd.target(target)
		if n := targetLen(append(slices.Clone(key), 1, 2, 3)); n != len(key) {
			t.Fatalf("%q: the key %x is taken for %d bytes", target, key, n)
		}
		for i := range key {
			if n := targetLen(key[:i]); n != 0 {
				t.Fatalf("%q: %d bytes of the key %x are taken for a key of %d", target, i, key, n)
			}
		}
		fd.d.flush()
		if again, ok, err := fd.d.base.targetKey(target); !ok || err != nil || !bytes.Equal(again, key) {
			t.Fatalf("%q: looked up as %x, stored as %x", target, again, key)
		}
		s.version.Store(fd.d.base)
		for _, n := range fd.rows.names {
			switch n.kind {
			case 'd':
				s.didCache.put(n.id, n.name)
			case 'c':
				s.nsidCache.put(n.id, n.name)
			}
		}
		if got, err := s.targetStrings(context.Background(), [][]byte{key}); err != nil || got[0] != target {
			t.Fatalf("%q comes back as %q, %v", target, got, err)
		}
	})
}

// FuzzKeys: no bytes make the parsers of keys panic or read past the end.
func FuzzKeys(f *testing.F) {
	f.Add([]byte{1, 1, 5, 2, 1, 9, 1, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte("\x02https://example.com\x00"))
	f.Add([]byte{8, 1, 2})
	f.Fuzz(func(t *testing.T, key []byte) {
		if n := targetLen(key); n > len(key) {
			t.Fatalf("targetLen %d of %d", n, len(key))
		}
		_, _ = decodeTarget(key)
		_, _, _ = cutPosition(key)
		_, _, _, _ = cutRecordKey(key)
		_, _ = cutLinks(nil, key, appendRkey(nil, "self"))
		_ = checkPosition(key)
	})
}

func TestLinksRoundTrip(t *testing.T) {
	t.Parallel()
	rkey := appendRkey(nil, "3m2qrrgw22222")
	rank, _ := tidRank(rkey)
	in := sortLinks([]recordLink{
		{7, []byte("\x02https://example.com\x00"), rank, true},
		{7, []byte{1, 1, 9, 0}, rank, true},
		{300, []byte{1, 1, 9, 0}, 12345, false},
		{7, []byte{1, 1, 9, 0}, rank, true},
	})
	if len(in) != 3 {
		t.Fatalf("%d links after the repeat was dropped, want 3", len(in))
	}
	out, err := cutLinks(nil, appendLinks(nil, in), rkey)
	if err != nil || len(out) != len(in) {
		t.Fatalf("%v, %v", out, err)
	}
	for i := range in {
		if compareLinks(in[i], out[i]) != 0 || in[i].rank != out[i].rank || in[i].derived != out[i].derived {
			t.Errorf("link %d comes back as %v, not %v", i, out[i], in[i])
		}
	}
	if _, err := cutLinks(nil, appendLinks(nil, in)[:9], rkey); err == nil {
		t.Error("links that were cut short pass")
	}
}

func TestRkey(t *testing.T) {
	t.Parallel()
	for _, rkey := range []string{"self", "3m2qrrgw22222", "j2222222222222", "jzzzzzzzzzzzz", "2222222222222", strings.Repeat("a", 512), "_~.:-"} {
		raw := appendRkey(nil, rkey)
		if got := rkeyString(raw); got != rkey {
			t.Errorf("%q comes back as %q", rkey, got)
		}
		column, err := rkeyOfColumn(rkeyColumn(raw))
		if err != nil || !bytes.Equal(column, raw) {
			t.Errorf("%q comes back from its column as %x, %v, not %x", rkey, column, err, raw)
		}
	}
}
