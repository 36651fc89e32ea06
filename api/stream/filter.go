package stream

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"strings"
)

// Filter selects links: those whose subject matches one of three filters, or all if none is given, and whose source,
// collection and account match, if given.
type Filter struct {
	Subjects    []string
	Prefixes    []string
	SubjectDIDs []string
	Sources     []string
	Collections []string
	Actors      []string
}

// Names reports whether the filter alone selects changes of accounts: those of the accounts that it names or, without
// any filter, all.
func (f *Filter) Names() bool {
	others := len(f.Subjects) + len(f.Prefixes) + len(f.SubjectDIDs) + len(f.Sources) + len(f.Collections)
	return len(f.Actors) > 0 || others == 0
}

// Matcher is a compiled Filter. It keeps hashes of the names, and only prefixes as text.
type Matcher struct {
	subjects, dids, sources, collections, actors hashSet
	prefixes                                     []string // sorted; none is a prefix of another
	anySubject                                   bool
}

// Match compiles a filter.
func (f *Filter) Match() *Matcher {
	m := &Matcher{
		subjects: newHashSet(f.Subjects), dids: newHashSet(f.SubjectDIDs), sources: newHashSet(f.Sources),
		collections: newHashSet(f.Collections), actors: newHashSet(f.Actors),
		anySubject: len(f.Subjects)+len(f.Prefixes)+len(f.SubjectDIDs) == 0,
	}
	for _, p := range slices.Sorted(slices.Values(f.Prefixes)) {
		if n := len(m.prefixes); n == 0 || !strings.HasPrefix(p, m.prefixes[n-1]) {
			m.prefixes = append(m.prefixes, strings.Clone(p)) // a substring would keep the whole message in memory
		}
	}
	return m
}

// Size returns the memory of a matcher, in bytes.
func (m *Matcher) Size() int64 {
	n := len(m.subjects) + len(m.dids) + len(m.sources) + len(m.collections) + len(m.actors)
	size := int64(n) * hashBytes
	for _, p := range m.prefixes {
		size += int64(len(p)) + 16
	}
	return size
}

// hashBytes is the length of a name's hash. Among the names of a lifetime of links, two share a hash of 128 bits with a
// probability of 1 in 10^18.
const hashBytes = 16

// hash is the hash of a name. Its seeds are random per process, so that clients cannot construct collisions.
type hash [hashBytes]byte

var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

func hashOf(name string) (h hash) {
	binary.LittleEndian.PutUint64(h[:8], maphash.String(seeds[0], name))
	binary.LittleEndian.PutUint64(h[8:], maphash.String(seeds[1], name))
	return h
}

// hashSet is a hash table with open addressing, whose empty slots are zero. Its length is a power of two; nil is no
// filter at all.
type hashSet []hash

func newHashSet(names []string) hashSet {
	if len(names) == 0 {
		return nil
	}
	size := 1
	for size < len(names)+len(names)/4+1 { // at most four in five slots are taken
		size *= 2
	}
	s := make(hashSet, size)
	for _, name := range names {
		h := hashOf(name)
		s[s.slot(h)] = h
	}
	return s
}

// slot returns the index of a hash, or of the free slot for it.
func (s hashSet) slot(h hash) int {
	i := int(binary.LittleEndian.Uint64(h[:8])) & (len(s) - 1)
	for s[i] != h && s[i] != (hash{}) {
		i = (i + 1) & (len(s) - 1)
	}
	return i
}

func (s hashSet) has(h hash) bool { return len(s) > 0 && s[s.slot(h)] == h }

// passes reports whether a filter contains a name or is nil.
func (s hashSet) passes(h hash) bool { return s == nil || s.has(h) }

// Event reports whether any link of an event may match, by account and collection. For an account's change it reports
// whether that matches.
func (m *Matcher) Event(e *Event) bool {
	return m.actors.passes(e.actor) && (e.Collection == "" || m.collections.passes(e.collection))
}

// Link reports whether a link of a matching event matches.
func (m *Matcher) Link(l *Link) bool {
	return m.sources.passes(l.source) && (m.anySubject || m.subject(l))
}

func (m *Matcher) subject(l *Link) bool {
	if m.subjects.has(l.subject) || l.SubjectDID != "" && m.dids.has(l.did) {
		return true
	}
	// The only possible prefix of a subject is the last one that sorts before or at it.
	i, ok := slices.BinarySearch(m.prefixes, l.Subject)
	return ok || i > 0 && strings.HasPrefix(l.Subject, m.prefixes[i-1])
}
