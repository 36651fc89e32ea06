package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
)

// Filter selects events. The zero Filter selects all.
type Filter struct {
	Subjects, SubjectPrefixes, SubjectDIDs []string // links to these subjects; without all three, to any
	Sources, Collections, Actors           []string // and only from these
	Accounts                               bool     // also changes of all accounts, or of all Actors
	Hydrate                                bool     // with the records' content and updates of content alone
}

// Event is a change of a linking record or of an account's status.
type Event struct {
	Kind       string // record or account
	Origin     string // live or replay
	Operation  string // of a record: create, update or delete
	DID        string
	Collection string
	Rkey       string
	Rev        string
	Time       time.Time
	Removed    []Pair          // removed links that match the filter
	Added      []Pair          // added links that match the filter
	CID        string          // with Hydrate, if the server stores it, as of the time of sending
	Value      json.RawMessage // with Hydrate, if the server stores it
	Account    *Account        // of an account
	Cursor     uint64          // resumes after this event
}

// Account is the new status of an account.
type Account = wire.Account

func newEvent(e *wire.Event) (Event, error) {
	at, err := time.Parse(time.RFC3339Nano, e.Time)
	if err != nil {
		return Event{}, fmt.Errorf("weft: the time of an event: %w", err)
	}
	return Event{
		Kind: e.Kind, Origin: e.Origin, Operation: e.Operation, DID: e.DID, Collection: e.Collection, Rkey: e.Rkey,
		Rev: e.Rev, Time: at, Removed: pairs(e.Removed), Added: pairs(e.Added), CID: e.CID, Value: e.Value,
		Account: e.Account, Cursor: e.Cursor,
	}, nil
}

const (
	// The server sends a heartbeat every 20 seconds.
	silence = 60 * time.Second
	// The wait before a reconnect doubles from leastWait to mostWait.
	leastWait = time.Second / 2
	mostWait  = 30 * time.Second
)

// Events iterates over the events after a cursor or, with 0, over new events. A cursor from 10^15 up is a time in
// microseconds since 1970. It reconnects when the connection breaks, and resumes: no event is lost or repeated. It ends
// with ctx, or with an *Error when the server refuses it. OutdatedCursor means that the log no longer has the next
// events.
func (c *Client) Events(ctx context.Context, f Filter, cursor uint64) iter.Seq2[Event, error] {
	var from *uint64
	if cursor > 0 {
		from = &cursor
	}
	return c.eventsAfter(ctx, f, from)
}

// eventsAfter iterates over the events after a cursor, which may be 0; nil: new events.
func (c *Client) eventsAfter(ctx context.Context, f Filter, cursor *uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		wait := leastWait
		for {
			began := cursor
			stop := false
			err := c.listen(ctx, f, &cursor, func(e Event) bool {
				cursor = &e.Cursor
				wait = leastWait
				stop = !yield(e, nil)
				return !stop
			})
			var refused *Error
			switch {
			case stop:
				return
			case ctx.Err() != nil:
				yield(Event{}, ctx.Err())
				return
			case errors.As(err, &refused) && refused.Status/100 == 4 && refused.Status != http.StatusTooManyRequests:
				yield(Event{}, err)
				return
			}
			if began != cursor {
				wait = leastWait
			}
			select {
			case <-time.After(wait/2 + rand.N(wait/2)):
			case <-ctx.Done():
			}
			wait = min(2*wait, mostWait)
		}
	}
}

// listen reads one connection to its end.
func (c *Client) listen(ctx context.Context, f Filter, cursor **uint64, do func(Event) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	alive := time.AfterFunc(silence, cancel)
	defer alive.Stop()
	body, err := c.openEvents(ctx, f, *cursor)
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 64<<20) // a record may have two thousand links of 8 KiB
	var place *uint64         // of an event without data
	for lines.Scan() {
		alive.Reset(silence)
		if len(lines.Bytes()) == 0 {
			if place != nil {
				*cursor = place
				place = nil
			}
		}
		if id, ok := bytes.CutPrefix(lines.Bytes(), []byte("id: ")); ok {
			n, err := strconv.ParseUint(string(id), 10, 64)
			if err == nil {
				place = &n
			}
		}
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		place = nil
		var message wire.Event
		if err := json.Unmarshal(data, &message); err != nil {
			return fmt.Errorf("weft: an event: %w", err)
		}
		if message.Kind != "record" && message.Kind != "account" {
			continue // the end, after which the connection closes, or a kind unknown to this version
		}
		event, err := newEvent(&message)
		if err != nil {
			return err
		}
		if !do(event) {
			return nil
		}
	}
	return lines.Err()
}

// openEvents requests the events after a cursor; nil: new events.
func (c *Client) openEvents(ctx context.Context, f Filter, cursor *uint64) (io.ReadCloser, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+routes.Events.Path+"?"+f.query(cursor).Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("weft: %w", err)
	}
	r.Header.Set("User-Agent", c.UserAgent)
	r.Header.Set("Accept", "text/event-stream")
	res, err := (&http.Client{Transport: c.HTTP.Transport}).Do(r) // without a timeout
	if err != nil {
		return nil, fmt.Errorf("weft: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		return nil, refusal(res)
	}
	return res.Body, nil
}

// query returns the parameters of the filter and of a cursor.
func (f *Filter) query(cursor *uint64) url.Values {
	q := url.Values{
		"wantedSubjects": f.Subjects, "wantedSubjectPrefixes": f.SubjectPrefixes, "wantedSubjectDids": f.SubjectDIDs,
		"wantedSources": f.Sources, "wantedCollections": f.Collections, "wantedActors": f.Actors,
	}
	if cursor != nil {
		q.Set("cursor", strconv.FormatUint(*cursor, 10))
	}
	if f.Accounts {
		q.Set("accounts", "true")
	}
	if f.Hydrate {
		q.Set("hydrate", "true")
	}
	return q
}
