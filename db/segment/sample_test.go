package segment

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"sync"
	"testing"

	"weft.dev/weft/db/lsm"
	"weft.dev/weft/ingest/extract"
	"weft.dev/weft/ingest/sim"
	"weft.dev/weft/link"
)

// This file builds runs like those of the store from the synthetic network, with keys of the same structure:
//
//	by target: target source ^rank actor rkey → 1
//	by record: actor collection rkey          → links

type entry struct{ key, value []byte }

// entries is a run in one allocation, so that benchmarks don't measure the garbage collector. It implements Entries.
type entries struct {
	*lsm.Block
	at int
}

func (e *entries) Next() (bool, error) { e.at++; return e.at <= e.Len(), nil }
func (e *entries) Key() []byte         { return e.Block.Key(e.at - 1) }
func (e *entries) Value() []byte       { return e.Block.Value(e.at - 1) }

// some returns the key of a pseudo-random entry for each i.
func (e *entries) some(i int) []byte { return e.Block.Key(i * 7919 % e.Len()) }

// again returns the same entries from the start.
func (e *entries) again() *entries { return &entries{Block: e.Block} }

// inOrder returns entries in the given order.
func inOrder(all ...entry) *entries {
	p := lsm.NewBlock(len(all), 0)
	for _, e := range all {
		p.Add(e.key, e.value)
	}
	return &entries{Block: p}
}

// sorted returns entries in key order.
func sorted(all []entry) *entries {
	slices.SortFunc(all, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	return inOrder(all...)
}

type sample struct{ target, record *entries }

func appendID(dst []byte, id uint64) []byte {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], id)
	n := 8
	for n > 0 && b[8-n] == 0 {
		n--
	}
	return append(append(dst, byte(n)), b[8-n:]...)
}

func idLen(key []byte) int { return 1 + int(key[0]) }

func appendRkey(dst []byte, rkey string) []byte {
	if tid, ok := link.ParseTID(rkey); ok {
		return binary.BigEndian.AppendUint64(append(dst, 1), tid)
	}
	return append(append(append(dst, 2), rkey...), 0)
}

func targetLen(key []byte) int {
	if key[0] == 2 {
		return bytes.IndexByte(key, 0) + 1
	}
	n := 1 + idLen(key[1:])
	if key[n] != 2 {
		return n + 1
	}
	n += 1 + idLen(key[n+1:])
	switch key[n] {
	case 1:
		return n + 9
	case 2:
		return n + bytes.IndexByte(key[n:], 0) + 1
	}
	return n + 1
}

var (
	targetKind = Kind{
		Keyspace: &lsm.Keyspace{
			Prefix:      targetLen,
			Delta:       func(value []byte) int { return 2*int(value[0]) - 1 },
			Annihilates: func(older, newer []byte) bool { return older[0] != newer[0] },
			Tombstone:   func(value []byte) bool { return value[0] == 0 },
		},
		List: func(key []byte) (int, uint32, bool) {
			n := targetLen(key)
			n += idLen(key[n:])
			id := uint32(0)
			for _, b := range key[n+9 : n+8+idLen(key[n+8:])] {
				id = id<<8 | uint32(b)
			}
			return n, id, true
		},
	}
	recordKind = Kind{
		Keyspace: &lsm.Keyspace{
			Prefix:    func(key []byte) int { return len(key) },
			Tombstone: func(value []byte) bool { return len(value) == 0 },
		},
		Minute: func(key []byte) (int64, bool) {
			n := idLen(key)
			n += idLen(key[n:])
			if n >= len(key) || key[n] != 1 {
				return 0, false
			}
			return link.TIDTimeUS(binary.BigEndian.Uint64(key[n+1:])) / 60_000_000, true
		},
	}
	sampleKinds = map[int]Kind{1: targetKind, 2: recordKind}
)

func (s *sample) inputs() []Input {
	return []Input{{1, targetKind, s.target.again()}, {2, recordKind, s.record.again()}}
}

// interner numbers names in order of appearance.
type interner map[string]uint64

func (in interner) id(name string) uint64 {
	id, ok := in[name]
	if !ok {
		id = uint64(len(in) + 1)
		in[name] = id
	}
	return id
}

// makeSample follows a network up to the given number of links. With tails, an rkey that is the TID of the rank is
// written as its 10 clock bits.
func makeSample(tb testing.TB, links int, tails bool) *sample {
	tb.Helper()
	network := sim.NewNetwork(sim.NetworkConfig{Accounts: max(links/20, 100)})
	x := extract.New(extract.Limits{})
	actors, collections, sources := interner{}, interner{}, interner{}
	target := func(text []byte) []byte {
		did, collection, rkey, ok := link.SplitRecord(string(text))
		switch {
		case bytes.HasPrefix(text, []byte("did:")):
			return append(appendID([]byte{1}, actors.id(string(text))), 0)
		case !ok:
			return append(append([]byte{2}, text...), 0)
		}
		key := appendID([]byte{1}, actors.id(did))
		switch {
		case collection == "":
			return append(key, 1)
		case rkey == "":
			return append(appendID(append(key, 2), collections.id(collection)), 0)
		}
		return appendRkey(appendID(append(key, 2), collections.id(collection)), rkey)
	}
	var targets, records []entry
	seen := map[string]bool{}
	for len(targets) < links {
		e := network.Next()
		if e.Kind != sim.KindCommit || e.CBOR == nil {
			continue
		}
		found, err := x.CBOR(e.CBOR)
		if err != nil || len(found) == 0 {
			continue
		}
		actor, collection, rkey := actors.id(e.DID), collections.id(e.Collection), appendRkey(nil, e.Rkey)
		key := append(appendID(appendID(nil, actor), collection), rkey...)
		if seen[string(key)] {
			continue // an update: its first version stands
		}
		seen[string(key)] = true
		rank, derived := uint64(e.TimeUS), false
		if rkey[0] == 1 {
			if us := link.TIDTimeUS(binary.BigEndian.Uint64(rkey[1:])); us <= e.TimeUS+300_000_000 {
				rank, derived = uint64(us), true
			}
		}
		tail := rkey
		if derived && tails {
			tail = append([]byte{3}, rkey[7]&3, rkey[8])
		}
		slices.SortFunc(found, func(a, b extract.Link) int {
			return cmp.Or(bytes.Compare(a.Path, b.Path), bytes.Compare(a.Target, b.Target))
		})
		var value []byte
		for i, l := range found {
			if i > 0 && bytes.Equal(l.Path, found[i-1].Path) && bytes.Equal(l.Target, found[i-1].Target) {
				continue
			}
			t, source := target(l.Target), sources.id(e.Collection+"\x00"+string(l.Path))
			value = appendID(value, source)
			if derived {
				value = append(value, 0)
			} else {
				value = binary.BigEndian.AppendUint64(append(value, 1), rank)
			}
			value = append(value, t...)
			k := binary.BigEndian.AppendUint64(appendID(t, source), ^rank)
			targets = append(targets, entry{append(appendID(k, actor), tail...), []byte{1}})
		}
		records = append(records, entry{key, value})
	}
	return &sample{sorted(targets), sorted(records)}
}

// samples caches samples, because making them takes longer than the measurements.
var samples sync.Map

func sampleOf(tb testing.TB, links int, tails bool) *sample {
	tb.Helper()
	key := [2]any{links, tails}
	if s, ok := samples.Load(key); ok {
		return s.(*sample)
	}
	s := makeSample(tb, links, tails)
	samples.Store(key, s)
	return s
}
