package stream

import (
	"slices"
	"strings"
)

// Filter says which links a subscriber wants: those whose subject is wanted in one of three ways, or any when none is given,
// and whose source, collection and account are wanted, where those are given.
type Filter struct {
	Subjects    []string
	Prefixes    []string
	SubjectDIDs []string
	Sources     []string
	Collections []string
	Actors      []string
}

// Matcher is a Filter that was made ready.
type Matcher struct {
	subjects, dids, sources, collections, actors map[string]struct{}
	prefixes                                     []string // in order, none the beginning of another
	anySubject                                   bool
}

// Match makes a filter ready.
func (f *Filter) Match() *Matcher {
	m := &Matcher{
		subjects: set(f.Subjects), dids: set(f.SubjectDIDs), sources: set(f.Sources),
		collections: set(f.Collections), actors: set(f.Actors),
		anySubject: len(f.Subjects)+len(f.Prefixes)+len(f.SubjectDIDs) == 0,
	}
	for _, p := range slices.Sorted(slices.Values(f.Prefixes)) {
		if n := len(m.prefixes); n == 0 || !strings.HasPrefix(p, m.prefixes[n-1]) {
			m.prefixes = append(m.prefixes, p)
		}
	}
	return m
}

func set(of []string) map[string]struct{} {
	if len(of) == 0 {
		return nil
	}
	m := make(map[string]struct{}, len(of))
	for _, s := range of {
		m[s] = struct{}{}
	}
	return m
}

// Event says whether any link of an event may be wanted, by what all of them have in common; and of an account's change,
// whether it is wanted.
func (m *Matcher) Event(e *Event) bool {
	return passes(m.actors, e.DID) && (e.Collection == "" || passes(m.collections, e.Collection))
}

// Link says whether a link of a wanted event is wanted.
func (m *Matcher) Link(l *Link) bool {
	return passes(m.sources, l.Source) && (m.anySubject || m.subject(l))
}

func (m *Matcher) subject(l *Link) bool {
	if _, ok := m.subjects[l.Subject]; ok {
		return true
	}
	if _, ok := m.dids[l.SubjectDID]; ok && l.SubjectDID != "" {
		return true
	}
	// The prefix of a subject, if there is one, is the last that does not sort behind it.
	i, ok := slices.BinarySearch(m.prefixes, l.Subject)
	return ok || i > 0 && strings.HasPrefix(l.Subject, m.prefixes[i-1])
}

// passes says whether a filter has a value, or is none.
func passes(filter map[string]struct{}, v string) bool {
	if filter == nil {
		return true
	}
	_, ok := filter[v]
	return ok
}
