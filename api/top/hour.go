package top

import (
	"hash/maphash"
	"math"

	"weft.dev/weft/db"
)

const (
	// targetsKept is the number of targets per source and hour. 26 hours of 64 sources with targets of 100 bytes are 30
	// MB; the network has some 20 sources with so many targets, which makes 10 MB.
	targetsKept = 100
	// sourcesKept is the number of sources per hour. Anyone can create sources: those with the most links stay.
	sourcesKept = 64
)

// hour holds the links of one hour.
type hour struct {
	sources map[db.Source]*targets
	// others is the upper bound of the links to a target from a source that is not kept.
	others uint32
	sketch *sketch // nil: every source has at most targetsKept targets
}

// targets holds the targets with the most links from a source.
type targets struct {
	links  uint32 // links of the source, an upper bound
	counts map[string]uint32
	least  uint32 // lower bound of the numbers in counts
	// others is the upper bound of the links to a target that is not in counts.
	others uint32
	// sketched: the sketch counts every target, and at most before links too few for each.
	sketched bool
	before   uint32
}

// add counts a link.
func (h *hour) add(source db.Source, target string) {
	t := h.sources[source]
	if t == nil {
		t = h.admit(source)
	}
	t.links++
	n, kept := t.counts[target]
	if !kept && len(t.counts) >= targetsKept && !t.sketched {
		h.begin(source, t)
	}
	if !kept {
		n = t.others
	}
	n++
	if t.sketched {
		if m, ok := h.sketch.add(source, target, 1); ok && !kept {
			n = min(n, m+t.before)
		}
	}
	switch {
	case kept, len(t.counts) < targetsKept:
		t.counts[target] = n
	case n > t.least:
		t.replace(target, n)
	default:
		t.others = max(t.others, n)
	}
}

// begin adds the counted links of a source to the sketch. Later links are added as they come.
func (h *hour) begin(source db.Source, t *targets) {
	if h.sketch == nil {
		h.sketch = &sketch{}
	}
	for target, n := range t.counts {
		h.sketch.add(source, target, n)
	}
	t.before = t.others
	t.sketched = true
}

// replace keeps a target instead of the one with the fewest links, if it has more.
func (t *targets) replace(target string, n uint32) {
	fewest := ""
	t.least = math.MaxUint32
	for other, m := range t.counts {
		if m < t.least {
			fewest = other
			t.least = m
		}
	}
	if n <= t.least {
		t.others = max(t.others, n)
		return
	}
	delete(t.counts, fewest) // a dropped target may have as many links: n is at most one more
	t.counts[target] = n
}

// admit keeps a source, and if there are too many drops the one with the fewest links.
func (h *hour) admit(source db.Source) *targets {
	if len(h.sources) >= sourcesKept {
		var fewest db.Source
		var least *targets
		for other, t := range h.sources {
			if least == nil || t.links < least.links {
				fewest = other
				least = t
			}
		}
		h.others = max(h.others, least.links)
		delete(h.sources, fewest)
	}
	t := &targets{links: h.others, others: h.others, counts: map[string]uint32{}}
	h.sources[source] = t
	return t
}

// sketch is a count-min sketch with conservative updates. Its estimate for a name is never too low, and rarely too high
// by more than the sum of all counts divided by its width. It takes 768 kB.
type sketch [3][1 << width]uint16

// width is the number of bits of a column index: 131,072 columns, for some millions of links in an hour of the network.
const width = 17

var seed = maphash.MakeSeed()

type name struct {
	source db.Source
	target string
}

// add adds n to the count of a name and returns the sum. ok is false if the sum exceeds the range of a counter.
func (s *sketch) add(source db.Source, target string, n uint32) (sum uint32, ok bool) {
	hash := maphash.Comparable(seed, name{source, target})
	var cells [len(s)]*uint16
	sum = math.MaxUint16
	for i := range s {
		cells[i] = &s[i][hash&(1<<width-1)]
		hash >>= width
		sum = min(sum, uint32(*cells[i]))
	}
	sum = min(sum+n, math.MaxUint16)
	for _, cell := range cells {
		*cell = max(*cell, uint16(sum))
	}
	return sum, sum < math.MaxUint16
}
