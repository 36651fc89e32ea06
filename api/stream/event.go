// Package stream follows the log for the live streams. It keeps the newest events in memory for all subscribers,
// switches from the log on disk to them without loss or repeat, holds links that may be taken back, and filters. It
// doesn't depend on HTTP.
package stream

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/link"
)

// Event is a row of the log as subscribers see it.
type Event struct {
	db.LogEntry
	Links []Link // removed links, then added links
	At    time.Time

	actor, collection hash // hashes of the names, computed once and compared for each subscriber
	mu                sync.Mutex
	read              bool   // kept is read
	kept              []Link // links of the record at the time of the read
}

// Link is a link that was removed or added.
type Link struct {
	Removed    bool
	Source     string // collection:path
	Subject    string
	SubjectDID string // account of the subject, or that owns it; empty: none

	source, subject, did hash

	// pair is the log row of the other end of a link that was added and removed within the hold; 0: none. The tail sets
	// it when it reads the removal.
	pair atomic.Uint64
}

// name sets the names of a link and their hashes.
func (l *Link) name(source, subject string) {
	l.Source = source
	l.Subject = subject
	l.SubjectDID = subjectDID(subject)
	l.source = hashOf(source)
	l.subject = hashOf(subject)
	l.did = hashOf(l.SubjectDID)
}

// Size returns the approximate size of an event in bytes, in memory or as a frame.
func (e *Event) Size() int {
	size := 300
	for i := range e.Links {
		size += 150 + len(e.Links[i].Source) + len(e.Links[i].Subject)
	}
	return size
}

// newEvent converts a log row; at is the time of its arrival.
func newEvent(e db.LogEntry, at time.Time) *Event {
	ev := &Event{LogEntry: e, At: at, Links: make([]Link, 0, len(e.Removed)+len(e.Added)), actor: hashOf(e.DID),
		collection: hashOf(e.Collection)}
	for i, l := range slices.Concat(e.Removed, e.Added) {
		ev.Links = append(ev.Links, Link{Removed: i < len(e.Removed)})
		ev.Links[i].name(sourceText(e.Collection, l.Path), l.Target)
	}
	return ev
}

// Kept returns the current links of the event's record. It calls read once for all subscribers.
func (e *Event) Kept(read func() ([]db.Link, error)) ([]Link, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.read {
		return e.kept, nil
	}
	links, err := read()
	if err != nil {
		return nil, err
	}
	e.read = true
	e.kept = make([]Link, len(links))
	for i, l := range links {
		k := &e.kept[i]
		k.name(sourceText(e.Collection, l.Path), l.Target)
	}
	return e.kept, nil
}

// sourceText returns collection:path. A path that begins with a dot gets a second dot, because readers remove one.
func sourceText(collection, path string) string {
	if path == "" || path[0] == '.' {
		return collection + ":." + path
	}
	return collection + ":" + path
}

// subjectDID returns the DID of a subject: the subject itself, or the authority of an at-uri.
func subjectDID(subject string) string {
	if strings.HasPrefix(subject, "did:") {
		return subject
	}
	rest, ok := strings.CutPrefix(subject, "at://")
	if !ok {
		return ""
	}
	did, _, _ := strings.Cut(rest, "/")
	if !link.ValidDID(did) {
		return ""
	}
	return did
}
