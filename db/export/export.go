// Package export reads all links of a data directory by record. It imports db, because it replays the log as weft serve
// does when it starts.
package export

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"

	"weft.dev/weft/db"
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/lsm"
	"weft.dev/weft/db/segment"
)

// Options selects the links of an export.
type Options struct {
	// From and To bound the records in the order of the export: From is included, To is excluded. Each is a DID, or the
	// at-uri of an account, of a collection or of a record. An account or a collection stands before all its records.
	// Empty: no bound.
	From, To    string
	Collections []string // NSIDs: only records of these; empty: of all
	// Inactive includes the links of accounts that are not active, which queries leave out. Deleted accounts stay out.
	Inactive bool
	Bodies   bool // include the content of records where weft keeps it
}

// Record is a record with its links, at least one.
type Record struct {
	db.Record
	Status db.Status // of its account
	Body   db.Body   // zero: weft doesn't keep it, or Options.Bodies is false
	Links  []Link
}

// URI is the record's at-uri.
func (r *Record) URI() string { return "at://" + r.DID + "/" + r.Collection + "/" + r.Rkey }

// Link is a link of a record.
type Link struct {
	db.Link
	TimeUS int64 // its rank, microseconds since 1970
}

// Export reads all links of a data directory as of one moment, also beside the weft that writes it, and changes nothing
// in it. They come by record: by
// the account's id, which is its place in the order in which accounts were first seen, then by the collection's, then
// by record key. Ids never change, so that a range of records stays one, whatever events come later. It has one user at
// a time.
type Export struct {
	Instance string // the index
	LogSeq   uint64 // its newest log row
	LogUS    int64  // the time of that row at the upstream, microseconds since 1970; 0: it was pruned, or there is none
	// BodiesFrom is the oldest log row whose body is kept, and LogSeq+1 if none is; 0: Options.Bodies is false.
	BodiesFrom uint64
	Changes    bool // a weft writes the index meanwhile: the next export is of another moment

	s           *db.ReadOnly
	core        *index.Core
	names       *sql.Stmt
	bodies      *heldBodies         // nil: without bodies
	from, to    []byte              // keys by record; nil: no bound
	collections map[uint64]struct{} // nil: all
	inactive    bool
	size        int64  // entries of all runs between from and to
	at          []byte // the key of the newest record that Records yielded
}

// cacheBytes is small: only the replay uses the cache. The walk reads past it.
const cacheBytes = 8 << 20

// Open opens a data directory for an export.
func Open(ctx context.Context, dir string, o Options) (*Export, error) {
	s, err := db.OpenReadOnly(dir, false)
	if err != nil {
		return nil, err
	}
	s.Core().Blocks = segment.NewCache(cacheBytes)
	e := &Export{s: s, core: s.Core(), inactive: o.Inactive, Changes: s.Beside()}
	err = e.open(ctx, o)
	if errors.Is(err, logrow.ErrDamaged) {
		err = fmt.Errorf("%w: "+index.MendStore, err, dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("db: export %s: %w", dir, err), e.Close())
	}
	return e, nil
}

// Close closes the data directory.
func (e *Export) Close() error {
	if e.names != nil {
		_ = e.names.Close()
	}
	return e.s.Close()
}

func (e *Export) open(ctx context.Context, o Options) error {
	if err := e.s.Load(ctx, "export"); err != nil {
		return err
	}
	v := e.core.Snapshot()
	e.LogSeq = v.Seq
	for _, q := range []struct {
		into  any
		query string
		args  []any
	}{
		{&e.Instance, "SELECT value FROM meta WHERE key = 'instance'", nil},
		{&e.LogUS, "SELECT ifnull(max(time_us), 0) FROM log WHERE last = ?", []any{int64(v.Seq)}},
	} {
		if err := e.s.Reader().GetContext(ctx, q.into, q.query, q.args...); err != nil {
			return err
		}
	}
	// The ids are ascending, so that neighbouring look-ups read the same pages of the B-tree.
	var err error
	e.names, err = e.core.Reader.DB.PrepareContext(ctx,
		"SELECT actors.id, did FROM json_each(?) CROSS JOIN actors ON actors.id = value")
	if err != nil {
		return err
	}
	if o.Bodies {
		err = e.openBodies(ctx)
		if err != nil {
			return err
		}
	} else {
		e.s.Unpin() // what follows is in the snapshot, but for the names of ids, which never change
	}
	e.from, err = bound(v, o.From)
	if err != nil {
		return err
	}
	e.to, err = bound(v, o.To)
	if err != nil {
		return err
	}
	for _, nsid := range o.Collections {
		id, ok, err := v.ID(codec.CollectionKey(nsid))
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("the index has never seen the collection %s", nsid)
		}
		if e.collections == nil {
			e.collections = map[uint64]struct{}{}
		}
		e.collections[id] = struct{}{}
	}
	e.size, err = entries(v, e.from, e.to)
	return err
}

// bound returns the key by record that lies before all records of a DID or an at-uri.
func bound(v *index.Snapshot, of string) (key []byte, err error) {
	if of == "" {
		return nil, nil
	}
	did, collection, rkey, ok := codec.SplitTarget(of)
	if !ok {
		return nil, fmt.Errorf("%s is not a DID or an at-uri with a DID", of)
	}
	id, ok, err := v.ID(codec.DIDKey(did))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("the index has never seen the account %s", did)
	}
	key = codec.AppendID(nil, id)
	if collection == "" {
		return key, nil
	}
	id, ok, err = v.ID(codec.CollectionKey(collection))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("the index has never seen the collection %s", collection)
	}
	key = codec.AppendID(key, id)
	if rkey != "" {
		key = codec.AppendRkey(key, rkey)
	}
	return key, nil
}

// entries counts the entries of all runs by record from one key to another, including replaced ones.
func entries(v *index.Snapshot, from, to []byte) (n int64, err error) {
	if to != nil && bytes.Compare(from, to) >= 0 {
		return 0, nil
	}
	for _, r := range v.Records.Runs {
		k, err := r.Sum(from, to)
		if err != nil {
			return 0, err
		}
		n += k
	}
	return n, nil
}

// Share returns the share of the export that Records has yielded, from 0 to 1.
func (e *Export) Share() (float64, error) {
	if e.size == 0 || e.at == nil {
		return 0, nil
	}
	n, err := entries(e.core.Snapshot(), e.from, lsm.PrefixEnd(e.at))
	return min(float64(n)/float64(e.size), 1), err
}
