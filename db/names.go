package db

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"

	"github.com/jmoiron/sqlx"

	"weft.dev/weft/db/codec"
)

// loadMeta reads the single facts, and where we are in each upstream, into a version.
func (s *state) loadMeta(ctx context.Context, q queryer, v *Snapshot) error {
	v.upstreams = map[string]upstream{}
	var started []string
	if err := q.SelectContext(ctx, &started, "SELECT value FROM meta WHERE key = 'started_us'"); err != nil {
		return err
	}
	for _, text := range started {
		us, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("started_us: %w", err)
		}
		v.startedUS = us
	}
	var hosts []struct {
		Host, Kind string
		Seq        uint64
		High       uint64 `db:"high_seq"`
		US         int64  `db:"time_us"`
		CursorUS   int64  `db:"cursor_us"`
		Instance   int64
		FollowedUS int64 `db:"followed_us"`
		ClockUS    int64 `db:"clock_us"`
		Epoch      int64
	}
	if err := q.SelectContext(ctx, &hosts, `SELECT host, kind, seq, high_seq, time_us, cursor_us, instance, followed_us, clock_us, epoch
		FROM upstream`); err != nil {
		return err
	}
	for _, h := range hosts {
		if h.Seq >= seqLimit { // a time; one of the future would be the upstream's tip
			h.Seq = min(h.Seq, uint64(s.config.Now().UnixMicro()))
		}
		v.upstreams[h.Host] = upstream{h.Kind, h.Seq, h.CursorUS, h.High, h.Instance, Followed{h.FollowedUS, h.ClockUS}, h.Epoch}
		v.maxUS = max(v.maxUS, h.US)
	}
	return nil
}

// loadNames reads the names that no segment holds into a version, up to some ids.
func (s *state) loadNames(ctx context.Context, q queryer, v *Snapshot, upTo nameBounds) error {
	var newest manifestRow
	if n := len(v.files.files); n > 0 {
		newest = v.files.files[n-1].manifestRow
	}
	s.next['d'], s.next['c'], s.next['s'] = newest.Actors, newest.Collections, newest.Sources
	return s.loadNewNames(ctx, q, v, upTo)
}

// allNames is beyond every name.
var allNames = nameBounds{math.MaxInt64, math.MaxInt64, math.MaxInt64}

// loadNewNames reads the names behind the newest ones that are known into a version, up to some ids.
func (s *state) loadNewNames(ctx context.Context, q queryer, v *Snapshot, upTo nameBounds) error {
	for _, k := range []struct {
		kind  byte
		upTo  uint64
		query string
	}{
		{'d', upTo.actors, "SELECT id, 0, did FROM actors WHERE id > ? AND id <= ?"},
		{'c', upTo.collections, "SELECT id, 0, nsid FROM collections WHERE id > ? AND id <= ?"},
		{'s', upTo.sources, "SELECT id, collection, path FROM sources WHERE id > ? AND id <= ?"},
	} {
		rows, err := q.QueryContext(ctx, k.query, int64(s.next[k.kind]), int64(k.upTo))
		if err != nil {
			return err
		}
		names := map[string]uint64{}
		push := func() (err error) {
			v.names, err = v.names.Push(mapRun(&byName, names, func(id uint64) []byte { return codec.AppendID(nil, id) }))
			clear(names)
			return err
		}
		for rows.Next() {
			var id, collection uint64
			var name string
			if err := rows.Scan(&id, &collection, &name); err != nil {
				_ = rows.Close()
				return err
			}
			key := []byte{k.kind}
			if k.kind == 's' {
				key = codec.AppendID(key, collection)
			}
			names[string(append(key, name...))] = id
			v.sums.names += nameSum(k.kind, id, collection, name)
			s.next[k.kind] = max(s.next[k.kind], id)
			if len(names) == rowsPerRun {
				if err := push(); err != nil {
					_ = rows.Close()
					return err
				}
			}
		}
		if err := errors.Join(rows.Err(), rows.Close(), push()); err != nil {
			return err
		}
	}
	v.actors = s.next['d']
	return nil
}

// dids resolves accounts.
func (s *Index) dids(ctx context.Context, ids []uint64) (map[uint64]string, error) {
	out := make(map[uint64]string, len(ids))
	var missing []uint64
	for _, id := range ids {
		if _, ok := out[id]; ok {
			continue
		}
		did, ok := s.didCache.get(id)
		if !ok {
			missing = append(missing, id)
		}
		out[id] = did
	}
	for len(missing) > 0 {
		// SQLite takes 32,766 variables; a page needs a thousand.
		n := min(len(missing), 1000)
		query, args, err := sqlx.In("SELECT id, did FROM actors WHERE id IN (?)", missing[:n])
		if err != nil {
			return nil, fmt.Errorf("db: read accounts: %w", err)
		}
		var found []struct {
			ID  uint64
			DID string
		}
		if err := s.reader.SelectContext(ctx, &found, query, args...); err != nil {
			return nil, fmt.Errorf("db: read accounts: %w", err)
		}
		for _, a := range found {
			out[a.ID] = a.DID
			s.didCache.put(a.ID, a.DID)
		}
		missing = missing[n:]
	}
	for id, did := range out {
		if did == "" {
			return nil, fmt.Errorf("db: account %d has no row", id)
		}
	}
	return out, nil
}

// nsid resolves a collection.
func (s *Index) nsid(ctx context.Context, id uint64) (string, error) {
	if nsid, ok := s.nsidCache.get(id); ok {
		return nsid, nil
	}
	var nsid string
	if err := s.reader.GetContext(ctx, &nsid, "SELECT nsid FROM collections WHERE id = ?", id); err != nil {
		return "", fmt.Errorf("db: read collection %d: %w", id, err)
	}
	s.nsidCache.put(id, nsid)
	return nsid, nil
}

// source resolves a source.
func (s *Index) source(ctx context.Context, id uint64) (Source, error) {
	if source, ok := s.sourceCache.get(id); ok {
		return source, nil
	}
	var source Source
	if err := s.reader.GetContext(ctx, &source, `SELECT nsid AS collection, path FROM sources
		JOIN collections ON collections.id = sources.collection WHERE sources.id = ?`, id); err != nil {
		return Source{}, fmt.Errorf("db: read source %d: %w", id, err)
	}
	s.sourceCache.put(id, source)
	return source, nil
}

// sourceID looks a source up, and its collection.
func (v *Snapshot) sourceID(source Source) (id, collection uint64, ok bool, err error) {
	if collection, ok, err = v.id(codec.CollectionKey(source.Collection)); !ok || err != nil {
		return 0, 0, false, err
	}
	id, ok, err = v.id(codec.SourceKey(collection, source.Path))
	return id, collection, ok, err
}

// bytes is the memory that the index takes.
func (v *Snapshot) bytes() int { return v.targets.Memory() + v.records.Memory() + v.names.Memory() }

// cacheSize bounds each half of a cache: 100,000 DIDs are about 10 MB.
const cacheSize = 100_000

// cache holds what was used lately: when its young half is full, the old half goes. Names never change, so that nothing
// is ever invalidated. The zero cache is empty.
type cache[K comparable, V any] struct {
	mu         sync.Mutex
	young, old map[K]V
}

func (c *cache[K, V]) get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.young[key]; ok {
		return v, true
	}
	v, ok := c.old[key]
	if ok {
		c.add(key, v)
	}
	return v, ok
}

func (c *cache[K, V]) put(key K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(key, v)
}

func (c *cache[K, V]) add(key K, v V) {
	if c.young == nil || len(c.young) >= cacheSize {
		c.young, c.old = map[K]V{}, c.young
	}
	c.young[key] = v
}
