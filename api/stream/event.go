// Package stream follows the log: it keeps the newest events in memory for all subscribers together, hands over from
// the log on disk to them without loss or repeat, holds what may be taken back, and filters. It knows nothing of HTTP.
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
	Links []Link // what was removed, then what was added
	At    time.Time

	actor, collection hash // of the names: they are made once, and compared for each subscriber
	mu                sync.Mutex
	read              bool   // kept was read
	kept              []Link // what the record links to, when it was read
}

// Link is a link that was removed or added.
type Link struct {
	Removed    bool
	Source     string // collection:path
	Subject    string
	SubjectDID string // the account that the subject is or belongs to; empty: none

	source, subject, did hash

	// pair is, of a link that was added and removed again within the hold, the row of the other end; 0: none. The tail
	// sets it when it reads the removal.
	pair atomic.Uint64
}

// name sets the names of a link, and their hashes.
func (l *Link) name(source, subject string) {
	l.Source = source
	l.Subject = subject
	l.SubjectDID = subjectDID(subject)
	l.source = hashOf(source)
	l.subject = hashOf(subject)
	l.did = hashOf(l.SubjectDID)
}

// Size is about how many bytes an event takes, in memory and as a frame.
func (e *Event) Size() int {
	size := 300
	for i := range e.Links {
		size += 150 + len(e.Links[i].Source) + len(e.Links[i].Subject)
	}
	return size
}

// newEvent reads a row; at is when it came.
func newEvent(e db.LogEntry, at time.Time) *Event {
	ev := &Event{LogEntry: e, At: at, Links: make([]Link, 0, len(e.Removed)+len(e.Added)), actor: hashOf(e.DID),
		collection: hashOf(e.Collection)}
	for i, l := range slices.Concat(e.Removed, e.Added) {
		ev.Links = append(ev.Links, Link{Removed: i < len(e.Removed)})
		ev.Links[i].name(sourceText(e.Collection, l.Path), l.Target)
	}
	return ev
}

// Kept returns the links of the event's record now. read reads them, once for all subscribers.
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

// sourceText returns collection:path. A path that begins with a dot gets another one, which readers remove.
func sourceText(collection, path string) string {
	if path == "" || path[0] == '.' {
		return collection + ":." + path
	}
	return collection + ":" + path
}

// subjectDID is the DID of a subject: itself, or the authority of an at-uri.
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
