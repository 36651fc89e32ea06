package codec

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// someDIDKeys returns keys by name in order: random did:plc, others that are nearly one, and keys before and after
// them.
func someDIDKeys(r *rand.Rand, n int) [][]byte {
	const around = "/0123456789:@AZ`abcyz{~\x7f\x80"
	keys := [][]byte{nil, {'c'}, {'d'}, []byte("ddid:"), []byte("ddid:plc"), []byte("ddid:plc:"), []byte("ddid:plc;"),
		[]byte("ddid:web:example.com"), []byte("s\x01\x01subject.uri"), []byte("capp.bsky.feed.like"), []byte("e")}
	var last []byte
	for range n {
		key := []byte(plcPrefix)
		for range plcDigits {
			key = append(key, digits[r.IntN(len(digits))])
		}
		if r.IntN(2) == 0 && last != nil { // a neighbour
			at := min(len(plcPrefix)+r.IntN(plcDigits), len(last))
			key = append(bytes.Clone(last[:at]), key[at:]...)
		}
		switch r.IntN(8) {
		case 0:
			key = key[:len(plcPrefix)+r.IntN(plcDigits)]
		case 1:
			key = append(key, digits[r.IntN(len(digits))])
		case 2:
			key[len(plcPrefix)+r.IntN(len(key)-len(plcPrefix))] = around[r.IntN(len(around))]
		case 3:
			copy(key[len(plcPrefix)+r.IntN(plcDigits):], strings.Repeat(string(around[r.IntN(len(around))]), 30))
		}
		keys = append(keys, key)
		last = key
	}
	slices.SortFunc(keys, bytes.Compare)
	return slices.CompactFunc(keys, bytes.Equal)
}

// TestPLC: the fixed form of a key gives the key back, and compares like it; NameOrder never falls.
func TestPLC(t *testing.T) {
	t.Parallel()
	keys := someDIDKeys(rand.New(rand.NewPCG(1, 1)), 50_000)
	var lastFixed, lastKey []byte
	fixedKeys := 0
	for i, key := range keys {
		if i > 0 && NameOrder(key) < NameOrder(keys[i-1]) {
			t.Fatalf("the order of %q is %x, and that of %q is %x", keys[i-1], NameOrder(keys[i-1]), key, NameOrder(key))
		}
		fixed, ok := AppendPLC(nil, key)
		canonical := len(key) == len(plcPrefix)+plcDigits && bytes.HasPrefix(key, []byte(plcPrefix)) &&
			strings.Trim(string(key[len(plcPrefix):]), digits) == ""
		if ok != canonical {
			t.Fatalf("%q has a fixed form: %t", key, ok)
		}
		if !ok {
			continue
		}
		fixedKeys++
		if got := AppendPLCKey(nil, fixed); len(fixed) != PLCSize || !bytes.Equal(got, key) {
			t.Fatalf("%q comes back from %x as %q", key, fixed, got)
		}
		if lastFixed != nil && bytes.Compare(lastFixed, fixed) >= 0 {
			t.Fatalf("%q is %x, and %q is %x", lastKey, lastFixed, key, fixed)
		}
		lastFixed = fixed
		lastKey = key
	}
	if fixedKeys < 10_000 {
		t.Errorf("%d keys have a fixed form", fixedKeys)
	}
}

// TestNameID: only values of AppendID are ids.
func TestNameID(t *testing.T) {
	t.Parallel()
	for _, id := range []uint64{0, 1, 255, 256, 1 << 24, 1<<64 - 1} {
		if got, ok := NameID(AppendID(nil, id)); got != id || !ok {
			t.Errorf("%d comes back as %d, %t", id, got, ok)
		}
	}
	for _, value := range []string{"", "\x01\x00", "\x02\x00\x01", "\x01", "\x01\x01\x01", "\x09123456789"} {
		if _, ok := NameID([]byte(value)); ok {
			t.Errorf("%x is taken for an id", value)
		}
	}
}
