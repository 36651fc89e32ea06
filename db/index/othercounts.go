package index

import (
	"bytes"
	"cmp"
	"slices"
)

const (
	// otherCountsBytes is what a page of ManyToManyCounts gathers before it drops what is on later pages: some 400,000
	// pairs. A stranger's thousand records can have a hundred million.
	otherCountsBytes = 32 << 20
	// otherPairBytes is what a pair takes beside the key of its target.
	otherPairBytes = 40
)

// otherCounts counts other targets by key, from behind one on, within bounds: it keeps the first of them, each with all
// its accounts, and drops the others, which are on later pages.
type otherCounts struct {
	after []byte // targets up to this key are on earlier pages; nil: there are none
	limit int    // of targets
	room  int    // in bytes

	pairs  []otherPair
	size   int    // of the pairs, in bytes
	sorted int    // their size when they were last sorted
	upTo   []byte // targets behind this key were dropped; nil: none were
}

// otherPair is how many links an account has to another target.
type otherPair struct {
	other []byte
	actor uint64
	links int64
}

// add counts a link. It copies the key.
func (c *otherCounts) add(other []byte, actor uint64) {
	if bytes.Compare(other, c.after) <= 0 || c.upTo != nil && bytes.Compare(other, c.upTo) > 0 {
		return
	}
	c.pairs = append(c.pairs, otherPair{bytes.Clone(other), actor, 1})
	c.size += otherPairBytes + len(other)
	// Twice what is kept anyway: else one target of very many accounts would have them sorted with each link.
	if c.size > max(c.room, 2*c.sorted) {
		c.compact()
	}
}

// compact sums the links of each pair, and drops targets behind the limit and behind half of the room; the first one
// stays.
func (c *otherCounts) compact() {
	slices.SortFunc(c.pairs, func(a, b otherPair) int {
		return cmp.Or(bytes.Compare(a.other, b.other), cmp.Compare(a.actor, b.actor))
	})
	kept := 0
	size := 0
	targets := 0
	for i := 0; i < len(c.pairs); {
		begin := kept
		begun := size
		other := c.pairs[i].other
		for ; i < len(c.pairs) && bytes.Equal(c.pairs[i].other, other); i++ {
			if p := c.pairs[i]; kept > begin && c.pairs[kept-1].actor == p.actor {
				c.pairs[kept-1].links += p.links
			} else {
				c.pairs[kept] = otherPair{other, p.actor, p.links}
				kept++
				size += otherPairBytes
			}
		}
		size += len(other)
		if targets == c.limit || targets > 0 && size > c.room/2 {
			kept = begin
			size = begun
			c.upTo = c.pairs[kept-1].other
			break
		}
		targets++
	}
	clear(c.pairs[kept:]) // their keys
	c.pairs = c.pairs[:kept]
	c.size = size
	c.sorted = size
}

// page gives the targets that were kept, in order, and their counts without names. There are more behind them if upTo
// is set.
func (c *otherCounts) page() (others [][]byte, items []OtherCount) {
	c.compact()
	items = []OtherCount{}
	for _, p := range c.pairs {
		if n := len(others); n == 0 || !bytes.Equal(others[n-1], p.other) {
			others = append(others, p.other)
			items = append(items, OtherCount{})
		}
		last := &items[len(items)-1]
		last.Links += p.links
		last.DIDs++
	}
	return others, items
}
