package apply

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/lsm"
)

// TestPrefetchedAccounts: the present event's accounts are known by their DIDs, where the cache of ids had them, and
// those of other events are not.
func TestPrefetchedAccounts(t *testing.T) {
	t.Parallel()
	const author, liked, other = "did:plc:author", "did:plc:liked", "did:plc:other"
	f := New(nil, &History{}, index.EmptySnapshot(), Origin{High: 1})
	for id, did := range []string{author, liked, other} {
		f.history.ids.put(codec.DIDKey(did), uint64(id)+1)
	}
	like := func(seq uint64, did string, targets ...string) Event {
		e := Event{Seq: seq, Op: logrow.OpCreate, DID: did}
		for _, target := range targets {
			e.Links = append(e.Links, index.Link{Path: "subject.uri", Target: target})
		}
		return e
	}
	events := []Event{
		like(1, author, "at://"+liked+"/app.bsky.feed.post/1"), // it may be a repeat
		like(2, author, "https://example.com/did:plc:other", "at://"+liked+"/app.bsky.feed.post/1"),
		like(3, other, liked, "at://did:plc:unknown"),
	}
	f.d.prefetched.begin(events)
	f.prefetchAccounts(slog.New(slog.DiscardHandler))
	for i, want := range []map[string]uint64{{}, {author: 1}, {author: 1, liked: 2}, {liked: 2, other: 3}} {
		if i > 0 {
			f.d.prefetched.next(&events[i-1])
		}
		for _, did := range []string{author, liked, other, "did:plc:unknown", ""} {
			if id := f.d.prefetched.account(did); id != want[did] {
				t.Errorf("after %d events %q has the id %d, want %d", i, did, id, want[did])
			}
		}
	}
	many := like(4, author)
	for i := range 2 * accountsPerEvent {
		many.Links = append(many.Links, index.Link{Target: fmt.Sprintf("did:plc:many%d", i)})
	}
	f.d.prefetched.begin([]Event{many})
	f.prefetchAccounts(slog.New(slog.DiscardHandler))
	f.d.prefetched.next(&f.d.prefetched.events[0])
	if id := f.d.prefetched.account(author); id != 1 {
		t.Errorf("the author of many links has the id %d", id)
	}
}

// TestPrefetchedRecords: what is prefetched is the value of the base, a copy of it, or that there is none. A large
// value is not kept, and neither is one of an event that may be a repeat. Only the present event sees its value.
func TestPrefetchedRecords(t *testing.T) {
	t.Parallel()
	const did, nsid = "did:plc:aaaabbbbccccddddeeeeffff", "app.bsky.feed.like"
	small := []byte("a value")
	large := bytes.Repeat([]byte("x"), prefetchValue+1)
	key := func(rkey string) []byte { return codec.AppendRkey(codec.RecordKey(nil, 7, 3, nil), rkey) }
	names := lsm.NewBuilder(&index.ByName, 2, 100)
	names.Add(codec.CollectionKey(nsid), codec.AppendID(nil, 3))
	names.Add(codec.DIDKey(did), codec.AppendID(nil, 7))
	records := lsm.NewBuilder(&index.ByRecord, 2, 5000)
	records.Add(key("large"), large)
	records.Add(key("small"), small)
	base := index.EmptySnapshot()
	base.Names.Runs = append(base.Names.Runs, names.Finish())
	base.Records.Runs = append(base.Records.Runs, records.Finish())

	f := New(nil, &History{}, base, Origin{High: 4})
	f.history.ids.put(codec.CollectionKey(nsid), 3)
	event := func(seq uint64, did, rkey string) Event {
		return Event{Seq: seq, Op: logrow.OpDelete, DID: did, Collection: nsid, Rkey: rkey}
	}
	events := []Event{event(5, did, "small"), event(6, did, "large"), event(7, did, "none"),
		event(4, did, "small"), event(8, "did:web:unknown.example", "small")}
	logger := slog.New(slog.DiscardHandler)
	f.d.prefetched.begin(events)
	f.prefetchAccounts(logger)
	f.prefetchRecords(logger)
	for i, want := range []struct {
		known bool
		value []byte
	}{{true, small}, {false, nil}, {true, nil}, {false, nil}, {false, nil}} {
		k := key(events[i].Rkey)
		if _, ok := f.d.prefetched.record(k); ok && !bytes.Equal(k, key("small")) {
			t.Errorf("event %d: its record is known before it is applied", i)
		}
		f.d.prefetched.next(&events[i])
		value, known := f.d.prefetched.record(k)
		if known != want.known || !bytes.Equal(value, want.value) {
			t.Errorf("event %d: %q, %t, want %q, %t", i, value, known, want.value, want.known)
		}
	}
	f.d.prefetched.perEvent[0].value[0]++ // it is a copy
	value, err := base.FindRecord(key("small"), lsm.Likely)
	if err != nil || string(value) != "a value" {
		t.Errorf("the base has the value %q, %v", value, err)
	}
	if _, ok := f.d.id(codec.DIDKey("did:web:unknown.example")); ok || len(f.d.prefetched.absent) != 1 {
		t.Errorf("of the names only one is absent, and %d are", len(f.d.prefetched.absent))
	}
}
