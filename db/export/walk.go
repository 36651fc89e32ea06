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

// windowLinks is how many links are named at once: their accounts are looked up together, in the order of their ids.
// A target may have 8 KiB, so that there is a bound in bytes as well.
const (
	windowLinks = 16_384
	windowBytes = 4 << 20
)

// Records walks the records behind one that was given before, named by its at-uri; "" begins at the first. A record is
// valid until the next. An error is the last that comes.
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

// Next names the record behind the newest one that was given, whether the export has it or not: where another can go
// on, with From, after the walk was called off. It is empty where none follows.
func (e *Export) Next(ctx context.Context) (string, error) {
	from := e.from
	if e.at != nil {
		from = lsm.PrefixEnd(e.at)
	}
	sc := e.core.Snapshot().Records.Scan(from, e.to, false)
	for sc.Next() {
		actor, collection, rkey, err := codec.DecodeRecordKey(sc.Key())
		if err != nil {
			continue // an account's revision, or damage, at which the walk itself ends
		}
		dids, err := e.core.AccountDIDs(ctx, []uint64{actor})
		if err != nil {
			return "", err
		}
		nsid, err := e.core.NSID(ctx, collection)
		r := Record{Record: db.Record{DID: dids[actor], Collection: nsid, Rkey: codec.RkeyString(rkey)}}
		return r.URI(), err
	}
	return "", sc.Err()
}

// window is some records on their way from keys to names. Its memory is used again.
type window struct {
	e    *Export
	scan *lsm.MergingIterator // nil at the end

	found   []foundRecord
	cut     []codec.RecordLink // the links of all of them
	records []Record           // what is found, named
	links   []Link             // what is cut, named
	ids     []uint64           // all accounts, in order, each once
	dids    []string           // theirs
	text    []byte             // record keys and targets, which become one string
	ends    []int              // the end of each in text
}

// foundRecord is a record by its key. Blocks of segments are never changed, so that keys and links need no copy.
type foundRecord struct {
	key        []byte
	actor      uint64
	collection uint64
	rkey       []byte
	end        int    // of its links among those cut
	body       uint64 // the log row that brought its body; 0: none
}

// window begins behind a record.
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

// fill goes on to the next records.
func (w *window) fill(ctx context.Context) error {
	if err := w.gather(ctx); err != nil {
		return err
	}
	if err := w.resolve(ctx); err != nil {
		return err
	}
	return w.name(ctx)
}

// gather takes records until their links make a window. What the export leaves out counts too, so that the context is
// looked at in time.
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
		w.cut, err = codec.DecodeLinks(w.cut, w.scan.Value(), r.rkey)
		if err != nil {
			return fmt.Errorf("the links of record %x: %w; run weft check --all", r.key, err)
		}
		r.end = len(w.cut)
		if w.e.bodies != nil {
			r.body = codec.BodyRef(w.scan.Value())
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

// has reports whether the export has the records of an account in a collection. A change of status that is under way
// counts as done: what is not yet shown again is there, and what is not yet hidden or purged is not.
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

// resolve looks the accounts up.
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

// did is the name of an account that resolve looked up.
func (w *window) did(id uint64) string {
	at, _ := slices.BinarySearch(w.ids, id)
	return w.dids[at]
}

// name makes records of what was found.
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

// spell writes the record keys and the targets one behind the other: as one string, they are one allocation.
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

// spellTarget writes a target whose account is looked up.
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
