package export

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"

	"weft.dev/weft/db"
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/lsm"
)

// windowLinks bounds the links whose names are looked up together, in the order of their accounts' ids. windowBytes
// bounds the same window in bytes, because a target may have 8 KiB.
const (
	windowLinks = 16_384
	windowBytes = 4 << 20
)

// Records iterates over the records after the record with an at-uri; "" begins at the first record. A record is valid
// until the next one. The iteration ends after an error.
func (e *Export) Records(ctx context.Context, after string) iter.Seq2[*Record, error] {
	return func(yield func(*Record, error) bool) {
		w, err := e.window(after)
		for err == nil && w.scan != nil {
			err = w.fill(ctx)
			if err != nil {
				break
			}
			for i := range w.records {
				w.records[i].Body, err = w.body(ctx, i)
				if err != nil {
					break
				}
				e.at = w.found[i].key
				if !yield(&w.records[i], nil) {
					return
				}
			}
		}
		if err != nil {
			yield(nil, fmt.Errorf("db: export: %w", err))
		}
	}
}

// Next returns the at-uri of the record after the newest one that Records yielded, also if the export leaves that
// record out. After an interrupted walk, another export continues there with Options.From. It returns "" at the end.
func (e *Export) Next(ctx context.Context) (string, error) {
	from := e.from
	if e.at != nil {
		from = lsm.PrefixEnd(e.at)
	}
	sc := e.core.Snapshot().Records.Scan(from, e.to, false)
	for sc.Next() {
		actor, collection, rkey, err := codec.DecodeRecordKey(sc.Key())
		if err != nil {
			continue // an account's revision, or damage, which Records reports
		}
		dids, err := e.core.AccountDIDs(ctx, []uint64{actor})
		if err != nil {
			return "", err
		}
		nsid, err := e.core.NSID(ctx, collection)
		r := Record{Record: db.Record{DID: dids[0], Collection: nsid, Rkey: codec.RkeyString(rkey)}}
		return r.URI(), err
	}
	return "", sc.Err()
}

// window holds some records while their keys are resolved to names. The next window reuses its memory.
type window struct {
	e    *Export
	scan *lsm.MergingIterator // nil at the end

	found   []foundRecord
	cut     []codec.RecordLink // the links of all found records
	records []Record           // found, with names
	links   []Link             // cut, with names
	ids     []uint64           // the ids of all accounts, ascending, each once
	dids    []string           // the DIDs of ids
	text    []byte             // record keys and targets; one string in the end
	ends    []int              // the end of each record key and target in text
}

// foundRecord is a record before its names are resolved. Blocks of segments never change, so keys and links need no
// copy.
type foundRecord struct {
	key        []byte
	actor      uint64
	collection uint64
	rkey       []byte
	end        int    // of its links in window.cut
	body       uint64 // the log row with its body; 0: none
}

// window returns an empty window after a record.
func (e *Export) window(after string) (*window, error) {
	v := e.core.Snapshot()
	from := e.from
	key, err := bound(v, after)
	if err != nil {
		return nil, err
	}
	if after != "" {
		key = lsm.PrefixEnd(key)
		if bytes.Compare(key, from) > 0 {
			from = key
		}
	}
	w := &window{e: e}
	if e.to == nil || bytes.Compare(from, e.to) < 0 {
		w.scan = v.Records.Scan(from, e.to, false)
	}
	return w, nil
}

// fill reads the next records.
func (w *window) fill(ctx context.Context) error {
	if err := w.gather(ctx); err != nil {
		return err
	}
	if err := w.resolve(ctx); err != nil {
		return err
	}
	return w.name(ctx)
}

// gather collects records until their links fill a window. Records that the export leaves out count too, so that fill
// checks the context regularly.
func (w *window) gather(ctx context.Context) error {
	w.found = w.found[:0]
	w.cut = w.cut[:0]
	w.ids = w.ids[:0]
	if w.e.bodies != nil {
		w.e.bodies.next = 0
	}
	for size := 0; len(w.cut) < windowLinks && size < windowBytes; size += len(w.scan.Value()) {
		if !w.scan.Next() {
			err := w.scan.Err()
			w.scan = nil
			return err
		}
		r := foundRecord{key: w.scan.Key()}
		var err error
		r.actor, r.collection, r.rkey, err = codec.DecodeRecordKey(r.key)
		if err != nil {
			if _, rest, err := codec.DecodeID(r.key); err == nil && len(rest) == 1 && rest[0] == 0 {
				continue // the account's revision
			}
			return fmt.Errorf("the key by record %x: %w; run weft check --all", r.key, err)
		}
		if !w.e.has(r.actor, r.collection) {
			continue
		}
		first := len(w.cut)
		value, err := w.e.core.Snapshot().InRecord(r.key, w.scan.Value())
		if err == nil && len(value) == 0 {
			continue // all of it is out
		}
		if err == nil {
			w.cut, err = codec.DecodeLinks(w.cut, value, r.rkey)
		}
		if err != nil {
			return fmt.Errorf("the links of record %x: %w; run weft check --all", r.key, err)
		}
		r.end = len(w.cut)
		if w.e.bodies != nil {
			r.body = codec.BodyRef(value)
		}
		w.found = append(w.found, r)
		w.ids = append(w.ids, r.actor)
		for _, l := range w.cut[first:] {
			if l.Target[0] == codec.TagAccount {
				id, _, _ := codec.DecodeID(l.Target[1:])
				w.ids = append(w.ids, id)
			}
		}
	}
	return ctx.Err()
}

// has reports whether the export includes the records of an account in a collection. It goes by the account's newest
// status, also while a job still shows, hides or purges the account's links.
func (e *Export) has(actor, collection uint64) bool {
	if status := e.s.Status(actor); status == db.StatusDeleted || status != db.StatusActive && !e.inactive {
		return false
	}
	if e.collections == nil {
		return true
	}
	_, ok := e.collections[collection]
	return ok
}

// resolve looks up the DIDs of the accounts.
func (w *window) resolve(ctx context.Context) error {
	slices.Sort(w.ids)
	w.ids = slices.Compact(w.ids)
	w.dids = w.dids[:0]
	missing := []byte{'['}
	for _, id := range w.ids {
		did, ok := w.e.core.CachedDID(id)
		if !ok {
			missing = append(strconv.AppendUint(missing, id, 10), ',')
		}
		w.dids = append(w.dids, did)
	}
	if len(missing) == 1 {
		return nil
	}
	missing[len(missing)-1] = ']'
	rows, err := w.e.names.QueryContext(ctx, string(missing))
	if err != nil {
		return fmt.Errorf("read accounts: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id uint64
		var did string
		if err := rows.Scan(&id, &did); err != nil {
			return fmt.Errorf("read accounts: %w", err)
		}
		if at, ok := slices.BinarySearch(w.ids, id); ok {
			w.dids[at] = did
			w.e.core.Remember('d', id, did)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read accounts: %w", err)
	}
	if at := slices.Index(w.dids, ""); at >= 0 {
		return fmt.Errorf("account %d has no row; run weft check --all", w.ids[at])
	}
	return nil
}

// did returns the DID of an account that resolve looked up.
func (w *window) did(id uint64) string {
	at, _ := slices.BinarySearch(w.ids, id)
	return w.dids[at]
}

// name fills records and links from the found records.
func (w *window) name(ctx context.Context) error {
	if err := w.spell(ctx); err != nil {
		return err
	}
	all := string(w.text)
	start := 0
	n := 0
	next := func() string {
		text := all[start:w.ends[n]]
		start = w.ends[n]
		n = n + 1
		return text
	}
	w.records, w.links = w.records[:0], slices.Grow(w.links[:0], len(w.cut)) // records alias links, which must not move
	first := 0
	for _, f := range w.found {
		nsid, err := w.e.core.NSID(ctx, f.collection)
		if err != nil {
			return err
		}
		r := Record{Record: db.Record{DID: w.did(f.actor), Collection: nsid, Rkey: next()}, Status: w.e.s.Status(f.actor)}
		for _, l := range w.cut[first:f.end] {
			source, err := w.e.core.Source(ctx, l.Source)
			if err != nil {
				return err
			}
			w.links = append(w.links, Link{db.Link{Path: source.Path, Target: next()}, int64(l.Rank)})
		}
		r.Links = w.links[first:f.end:f.end]
		w.records = append(w.records, r)
		first = f.end
	}
	return nil
}

// spell appends the record keys and the targets to one text, which becomes one string with one allocation.
func (w *window) spell(ctx context.Context) error {
	w.text = w.text[:0]
	w.ends = w.ends[:0]
	first := 0
	for _, f := range w.found {
		w.text = codec.AppendRkeyText(w.text, f.rkey)
		w.ends = append(w.ends, len(w.text))
		for _, l := range w.cut[first:f.end] {
			if err := w.spellTarget(ctx, l.Target); err != nil {
				return err
			}
			w.ends = append(w.ends, len(w.text))
		}
		first = f.end
	}
	return nil
}

// spellTarget appends a target. resolve has looked up its account.
func (w *window) spellTarget(ctx context.Context, key []byte) error {
	t, err := codec.DecodeTarget(key)
	if err != nil {
		return err
	}
	if t.Text != nil {
		w.text = append(w.text, t.Text...)
		return nil
	}
	if !t.Bare {
		w.text = append(w.text, "at://"...)
	}
	w.text = append(w.text, w.did(t.AccountID)...)
	if t.CollectionID == 0 {
		return nil
	}
	nsid, err := w.e.core.NSID(ctx, t.CollectionID)
	if err != nil {
		return err
	}
	w.text = append(append(w.text, '/'), nsid...)
	if t.Rkey != nil {
		w.text = codec.AppendRkeyText(append(w.text, '/'), t.Rkey)
	}
	return nil
}
