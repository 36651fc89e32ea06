package apply

import (
	"strconv"
	"testing"
)

// TestIDCache: a cache of names has those of a small index all, grows with them, and answers with their ids.
func TestIDCache(t *testing.T) {
	t.Parallel()
	name := func(id uint64) []byte { return []byte("did:plc:" + strconv.FormatUint(id, 10)) }
	var c idCache
	for _, tc := range []struct {
		name                 string
		names, sets, missing uint64
	}{
		{"one", 1, idSetsFirst, 0},
		{"before it grows", idsPerSet * idSetsFirst, idSetsFirst, 60},
		{"after it has grown", idsPerSet*idSetsFirst + 1, 2 * idSetsFirst, 60},
		{"many", 1 << 16, 1 << 15, 1 << 13},
		{"more than it grows for", 9 * idSetsMost / 4, idSetsMost, idSetsMost / 4},
	} {
		for id := uint64(1); id <= tc.names; id++ {
			if _, ok := c.get(name(id)); !ok {
				c.put(name(id), id)
			}
		}
		missing := uint64(0)
		for id := uint64(1); id <= tc.names; id++ {
			got, ok := c.get(name(id))
			if !ok {
				missing++
			} else if got != id {
				t.Fatalf("%s: the id of %s is %d", tc.name, name(id), got)
			}
		}
		if uint64(len(c.sets)) != tc.sets || missing > tc.missing {
			t.Errorf("%s: %d sets, want %d; %d of %d names are missing, want %d at most", tc.name, len(c.sets), tc.sets,
				missing, tc.names, tc.missing)
		}
		last := name(tc.names)
		if got, ok := c.get(last); got != tc.names || !ok {
			t.Errorf("%s: the name used last is missing", tc.name)
		}
	}
	large := uint64(1) << 32
	c.put([]byte("large"), large)
	if id, ok := c.get([]byte("large")); ok {
		t.Errorf("an id of 33 bits gives %d", id)
	}
}
