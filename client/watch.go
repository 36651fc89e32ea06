package client

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"time"
)

// ChangeKind is the kind of a change of a watched list.
type ChangeKind string

const (
	Listed  ChangeKind = "listed"  // the record was there when Watch began
	Added   ChangeKind = "added"   // the record was added since
	Removed ChangeKind = "removed" // the record was removed since
)

// Change is a change of a watched list.
type Change struct {
	Kind   ChangeKind
	Record Record // without a time if Removed; with its content only if Listed and requested
}

// Watch iterates over the records of a list, and then over its changes, without an end: each record once when it is
// added and once when it is removed, without a gap between the list and the changes. The records of an account that
// becomes inactive are removed, and added again when it becomes active. If the log no longer has the changes that a
// broken connection missed, Watch lists the records again and returns the differences. It ends with ctx, with an *Error
// when the server refuses it, or with the first error of a server that has not answered yet.
//
// Watch keeps the keys of the list in memory, about 100 bytes each. It needs a weft. The query has no Since and Until.
func (c *Client) Watch(ctx context.Context, q Query) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		if !q.Since.IsZero() || !q.Until.IsZero() {
			yield(Change{}, errors.New("weft: Watch does not support Since and Until"))
			return
		}
		w := &watch{client: c, query: q, have: map[string]map[string]Record{}, kind: Listed,
			yield: func(ch Change) bool { return yield(ch, nil) }}
		err := w.run(ctx)
		if err != nil && !errors.Is(err, errStop) {
			yield(Change{}, err)
		}
	}
}

var (
	// errStop ends a watch whose caller stops iterating.
	errStop = errors.New("stop")
	// errBehind restarts a watch: a list is older than the event that requires it, because another follower or a cache
	// sent it.
	errBehind = errors.New("weft: a list is older than the event before it")
)

// watch is the state of a watched list.
type watch struct {
	client *Client
	query  Query
	known  bool                         // the server has answered: it is a weft, and later failures are retried
	have   map[string]map[string]Record // records of the list, without times and content, by DID and record key
	kind   ChangeKind                   // kind of change for new records of a page
	yield  func(Change) bool
}

// run lists and follows until ctx ends, the server refuses, or the caller stops iterating.
func (w *watch) run(ctx context.Context) error {
	for wait := leastWait; ; wait = min(2*wait, mostWait) {
		began := time.Now()
		err := w.follow(ctx)
		if ctx.Err() != nil || errors.Is(err, errStop) || !w.known || isRefusal(err) {
			return err
		}
		if time.Since(began) > mostWait {
			wait = leastWait
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// isRefusal reports whether an error is final. If the log no longer has a stream's cursor, or if another follower
// answers that is behind, the watch restarts with the list.
func isRefusal(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && refused.Status/100 == 4 && refused.Status != http.StatusTooManyRequests &&
		refused.Name != "OutdatedCursor" && refused.Name != "FutureCursor"
}

// follow lists the records and follows their changes until an error.
func (w *watch) follow(ctx context.Context) error {
	seq, err := w.list(ctx, w.query, "", 0)
	if err != nil {
		return err
	}
	w.kind = Added
	filter := Filter{Subjects: []string{w.query.Subject}, Sources: []string{w.query.Source}, Actors: w.query.DIDs,
		Accounts: true}
	for e, err := range w.client.eventsAfter(ctx, filter, &seq) {
		if err == nil {
			err = w.event(ctx, &e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// list lists the records of a query, and returns the log row up to which all pages are complete. Records that are not
// listed are removed: those of one account or, with an empty did, all. Changes between two pages are in events after
// seq, which may repeat records of a later page: an existing record is not added again. A page that does not include
// the log up to least is errBehind.
func (w *watch) list(ctx context.Context, q Query, did string, least uint64) (seq uint64, err error) {
	gone := map[string]map[string]Record{}
	for account, records := range w.have {
		if did == "" || account == did {
			gone[account] = map[string]Record{}
			for rkey, r := range records {
				gone[account][rkey] = r
			}
		}
	}
	for cursor, first := "", true; first || cursor != ""; first = false {
		page, err := w.client.BacklinksPage(ctx, q, cursor)
		if err != nil {
			return 0, err
		}
		if page.Seq == 0 && page.Total > 0 {
			return 0, errors.New("weft: this server does not send Weft-Seq: it cannot be watched")
		}
		w.known = true
		if page.Seq < least {
			return 0, errBehind
		}
		if first {
			seq = page.Seq
		}
		seq = min(seq, page.Seq) // a later page may come from a follower that is behind
		cursor = page.Cursor
		for _, r := range page.Items {
			delete(gone[r.DID], r.Rkey)
			if err := w.add(r); err != nil {
				return 0, err
			}
		}
	}
	for _, records := range gone {
		for _, r := range records {
			if err := w.remove(r.DID, r.Rkey); err != nil {
				return 0, err
			}
		}
	}
	return seq, nil
}

// event applies an event to the list.
func (w *watch) event(ctx context.Context, e *Event) error {
	if e.Account != nil {
		return w.account(ctx, e)
	}
	for range e.Removed {
		if err := w.remove(e.DID, e.Rkey); err != nil {
			return err
		}
	}
	if len(e.Added) == 0 {
		return nil
	}
	if len(w.have[e.DID]) == 0 {
		// The account may be inactive, perhaps since before the watch. Its list is current, and later events change it.
		return w.listOf(ctx, e.DID, e.Cursor)
	}
	return w.add(Record{DID: e.DID, Collection: e.Collection, Rkey: e.Rkey, Time: e.Time})
}

// account applies a change of an account's status: its records are removed or added.
func (w *watch) account(ctx context.Context, e *Event) error {
	a := e.Account
	if a.Active {
		return w.listOf(ctx, a.DID, e.Cursor)
	}
	for rkey := range w.have[a.DID] {
		if err := w.remove(a.DID, rkey); err != nil {
			return err
		}
	}
	return nil
}

// listOf lists the records of one account as of a cursor or later.
func (w *watch) listOf(ctx context.Context, did string, cursor uint64) error {
	q := w.query
	q.DIDs = []string{did}
	_, err := w.list(ctx, q, did, cursor)
	return err
}

func (w *watch) add(r Record) error {
	if _, ok := w.have[r.DID][r.Rkey]; ok {
		return nil
	}
	if w.have[r.DID] == nil {
		w.have[r.DID] = map[string]Record{}
	}
	w.have[r.DID][r.Rkey] = Record{DID: r.DID, Collection: r.Collection, Rkey: r.Rkey}
	return w.say(Change{w.kind, r})
}

func (w *watch) remove(did, rkey string) error {
	r, ok := w.have[did][rkey]
	if !ok {
		return nil
	}
	delete(w.have[did], rkey)
	if len(w.have[did]) == 0 {
		delete(w.have, did)
	}
	return w.say(Change{Removed, r})
}

func (w *watch) say(c Change) error {
	if !w.yield(c) {
		return errStop
	}
	return nil
}
