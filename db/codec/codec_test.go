package codec

import (
	"bytes"
	"strings"
	"testing"

	"weft.dev/weft/link"
)

func TestIDOrder(t *testing.T) {
	t.Parallel()
	ids := []uint64{0, 1, 2, 255, 256, 257, 65535, 65536, 1 << 24, 1<<32 - 1, 1 << 32, 1 << 40, 1 << 63, ^uint64(0)}
	var last []byte
	for i, id := range ids {
		key := AppendID(nil, id)
		if i > 0 && bytes.Compare(last, key) >= 0 {
			t.Errorf("%d does not sort behind %d", id, ids[i-1])
		}
		if got, rest, err := DecodeID(append(key, 7)); got != id || err != nil || !bytes.Equal(rest, []byte{7}) {
			t.Errorf("%d comes back as %d, %v, %v", id, got, rest, err)
		}
		last = key
	}
}

// place is that of a TID whose time is the rank.
func place(rank, clock uint64) []byte {
	return AppendRkeySuffix(nil, rank, AppendRkey(nil, string(link.AppendTID(nil, rank<<clockBits|clock))))
}

func TestPositionOrder(t *testing.T) {
	t.Parallel()
	// In the order of a list: newest first, then by account, then by record key.
	in := []ListPosition{
		{2000, 1, AppendRkey(nil, "self")},
		{1000, 1, AppendRkey(nil, "3m2qrrgw22222")},
		{1000, 1, AppendRkey(nil, "self")},
		{1000, 1, place(1000, 7)},
		{1000, 1, place(1000, 1023)},
		{1000, 300, AppendRkey(nil, "3m2qrrgw22222")},
		{0, 1, AppendRkey(nil, "a")},
		{0, 1, place(0, 0)},
	}
	for i := range in {
		if again := AppendRkeySuffix(nil, in[i].Rank, in[i].Rkey()); !bytes.Equal(again, in[i].RkeySuffix) {
			t.Errorf("position %d: the place %x becomes %x by way of its record key", i, in[i].RkeySuffix, again)
		}
		key := in[i].Append(nil)
		if i > 0 && bytes.Compare(in[i-1].Append(nil), key) >= 0 {
			t.Errorf("position %d does not sort behind the one before", i)
		}
		p, rest, err := DecodePosition(key)
		if err != nil || len(rest) > 0 || p.Rank != in[i].Rank || p.AccountID != in[i].AccountID ||
			!bytes.Equal(p.RkeySuffix, in[i].RkeySuffix) {
			t.Errorf("position %d comes back as %v, %v, %v", i, p, rest, err)
		}
		if !isPosition(key) || isPosition(key[:len(key)-1]) || isPosition(append(key, 0)) {
			t.Errorf("position %d: a position passes exactly when it is whole", i)
		}
	}
}

// isPosition reports whether key is a position and no more.
func isPosition(key []byte) bool {
	_, rest, err := DecodePosition(key)
	return err == nil && len(rest) == 0
}

func TestRankOf(t *testing.T) {
	t.Parallel()
	const now = 1_770_000_000_000_000
	tid := func(us int64) []byte { return AppendRkey(nil, string(link.AppendTID(nil, uint64(us)<<10))) }
	for _, tc := range []struct {
		name    string
		rkey    []byte
		rank    uint64
		derived bool
	}{
		{"a TID from the past", tid(now - 1_000_000_000), now - 1_000_000_000, true},
		{"a TID a little ahead, by clocks that differ", tid(now + 299_000_000), now + 299_000_000, true},
		{"a TID from the future", tid(now + 301_000_000), now, false},
		{"not a TID", AppendRkey(nil, "self"), now, false},
	} {
		if rank, derived := RankOf(tc.rkey, now); rank != tc.rank || derived != tc.derived {
			t.Errorf("%s: rank %d (%t), want %d (%t)", tc.name, rank, derived, tc.rank, tc.derived)
		}
	}
}

// FuzzKeys: no bytes make the parsers of keys panic or read past the end.
func FuzzKeys(f *testing.F) {
	f.Add([]byte{1, 1, 5, 2, 1, 9, 1, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte("\x02https://example.com\x00"))
	f.Add([]byte{8, 1, 2})
	f.Fuzz(func(t *testing.T, key []byte) {
		if n := TargetLen(key); n > len(key) {
			t.Fatalf("TargetLen %d of %d", n, len(key))
		}
		_, _ = DecodeTarget(key)
		_, _, _ = DecodePosition(key)
		_, _, _, _ = DecodeRecordKey(key)
		_, _ = DecodeLinks(nil, key, AppendRkey(nil, "self"))
	})
}

func TestLinksRoundTrip(t *testing.T) {
	t.Parallel()
	rkey := AppendRkey(nil, "3m2qrrgw22222")
	rank, _ := TIDRank(rkey)
	in := SortLinks([]RecordLink{
		{7, []byte("\x02https://example.com\x00"), rank, true},
		{7, []byte{1, 1, 9, 0}, rank, true},
		{300, []byte{1, 1, 9, 0}, 12345, false},
		{7, []byte{1, 1, 9, 0}, rank, true},
	})
	if len(in) != 3 {
		t.Fatalf("%d links after the repeat was dropped, want 3", len(in))
	}
	out, err := DecodeLinks(nil, AppendLinks(nil, in), rkey)
	if err != nil || len(out) != len(in) {
		t.Fatalf("%v, %v", out, err)
	}
	for i := range in {
		if CompareLinks(in[i], out[i]) != 0 || in[i].Rank != out[i].Rank || in[i].Derived != out[i].Derived {
			t.Errorf("link %d comes back as %v, not %v", i, out[i], in[i])
		}
	}
	if _, err := DecodeLinks(nil, AppendLinks(nil, in)[:9], rkey); err == nil {
		t.Error("links that were cut short pass")
	}
}

func TestRkey(t *testing.T) {
	t.Parallel()
	for _, rkey := range []string{"self", "3m2qrrgw22222", "j2222222222222", "jzzzzzzzzzzzz", "2222222222222",
		strings.Repeat("a", 512), "_~.:-"} {
		raw := AppendRkey(nil, rkey)
		if got := RkeyString(raw); got != rkey {
			t.Errorf("%q comes back as %q", rkey, got)
		}
		var stored any = rkey
		if tid, ok := link.ParseTID(rkey); ok {
			stored = int64(tid)
		}
		column, err := DecodeRkeyColumn(stored)
		if err != nil || !bytes.Equal(column, raw) {
			t.Errorf("%q comes back from its column as %x, %v, not %x", rkey, column, err, raw)
		}
	}
}
