package index

import (
	"fmt"
	"testing"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/lsm"
)

// withNames returns the snapshot that follows one, with a run of collections of these names and ids.
func withNames(v *Snapshot, names map[string]uint64, sorted []string) *Snapshot {
	b := lsm.NewBuilder(&ByName, len(names), 0)
	for _, name := range sorted {
		b.Add(codec.CollectionKey(name), codec.AppendID(nil, names[name]))
	}
	next := *v
	next.Names.Runs = append(next.Names.Runs[:len(next.Names.Runs):len(next.Names.Runs)], b.Finish())
	return &next
}

// TestKindCache: a collection has its id from the snapshot on that names it, also where a query has asked for it
// before, and the cache holds a bounded number of them.
func TestKindCache(t *testing.T) {
	t.Parallel()
	v := EmptySnapshot()
	const name = "app.bsky.feed.like"
	for range 2 {
		if id, ok, err := v.kindID(codec.CollectionKey(name)); ok || err != nil {
			t.Fatalf("a name that the index lacks: %d, %t, %v", id, ok, err)
		}
	}
	v = withNames(v, map[string]uint64{name: 7}, []string{name})
	for range 2 {
		if id, ok, err := v.kindID(codec.CollectionKey(name)); id != 7 || !ok || err != nil {
			t.Fatalf("a new name: %d, %t, %v; want 7", id, ok, err)
		}
	}
	names := map[string]uint64{}
	var sorted []string
	for i := range uint64(3 * kindCacheSize) {
		name := fmt.Sprintf("com.example.n%06d", i)
		names[name] = i + 8
		sorted = append(sorted, name)
	}
	v = withNames(v, names, sorted)
	for _, name := range sorted {
		if id, ok, err := v.kindID(codec.CollectionKey(name)); id != names[name] || !ok || err != nil {
			t.Fatalf("%s: %d, %t, %v; want %d", name, id, ok, err, names[name])
		}
		if n := len(v.kinds.young) + len(v.kinds.old); n > 2*kindCacheSize {
			t.Fatalf("the cache holds %d names, more than %d", n, 2*kindCacheSize)
		}
	}
}
