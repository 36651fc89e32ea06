package index

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"weft.dev/weft/db/codec"
)

// AccountDIDs resolves accounts, in the order of the ids.
func (c *Core) AccountDIDs(ctx context.Context, ids []uint64) ([]string, error) {
	dids := make([]string, len(ids))
	missing := c.didCache.getAll(ids, dids)
	if len(missing) == 0 {
		return dids, nil
	}
	read, err := c.readDIDs(ctx, missing)
	if err != nil {
		return nil, fmt.Errorf("db: read accounts: %w", err)
	}
	for i, id := range ids {
		if dids[i] != "" {
			continue
		}
		dids[i] = read[id]
		if dids[i] == "" {
			return nil, fmt.Errorf("db: account %d has no row", id)
		}
	}
	return dids, nil
}

// didsQuery reads the accounts of a JSON array of ids. With one parameter for all ids it is prepared once: preparing a
// statement takes as long as reading some dozens of accounts. The join reads the accounts in the order of the array,
// where IN would make a table of the ids first.
const didsQuery = "SELECT actors.id, did FROM json_each(?) CROSS JOIN actors ON actors.id = value"

// readDIDs reads accounts from the database, and caches them. It sorts the ids.
func (c *Core) readDIDs(ctx context.Context, ids []uint64) (map[uint64]string, error) {
	stmt, err := c.preparedDIDs(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(ids) // so that each page is read once
	list := []byte{'['}
	for i, id := range ids {
		if i > 0 {
			list = append(list, ',')
		}
		list = strconv.AppendUint(list, id, 10)
	}
	rows, err := stmt.QueryContext(ctx, string(append(list, ']')))
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	dids := make(map[uint64]string, len(ids))
	for rows.Next() {
		var stored int64 // database/sql converts it to an unsigned number by way of text
		var did string
		err := rows.Scan(&stored, &did)
		if err != nil {
			return nil, err
		}
		id := uint64(stored)
		dids[id] = did
		c.didCache.put(id, did)
	}
	return dids, rows.Err()
}

// preparedDIDs returns the statement of didsQuery. Closing the connections closes it.
func (c *Core) preparedDIDs(ctx context.Context) (*sql.Stmt, error) {
	c.statementsMu.Lock()
	defer c.statementsMu.Unlock()
	if c.dids != nil {
		return c.dids, nil
	}
	stmt, err := c.Reader.PrepareContext(ctx, didsQuery)
	if err == nil {
		c.dids = stmt
	}
	return stmt, err
}

// CachedDID returns the DID of an account that was resolved lately.
func (c *Core) CachedDID(id uint64) (did string, ok bool) { return c.didCache.get(id) }

// Remember caches the name of an account (kind d) or of a collection (c) that the caller has read.
func (c *Core) Remember(kind byte, id uint64, name string) {
	if kind == 'd' {
		c.didCache.put(id, name)
	} else {
		c.nsidCache.put(id, name)
	}
}

// NSID resolves a collection.
func (c *Core) NSID(ctx context.Context, id uint64) (string, error) {
	if nsid, ok := c.nsidCache.get(id); ok {
		return nsid, nil
	}
	var nsid string
	if err := c.Reader.GetContext(ctx, &nsid, "SELECT nsid FROM collections WHERE id = ?", id); err != nil {
		return "", fmt.Errorf("db: read collection %d: %w", id, err)
	}
	c.nsidCache.put(id, nsid)
	return nsid, nil
}

// Source resolves a source.
func (c *Core) Source(ctx context.Context, id uint64) (Source, error) {
	if source, ok := c.sourceCache.get(id); ok {
		return source, nil
	}
	var source Source
	if err := c.Reader.GetContext(ctx, &source, `SELECT nsid AS collection, path FROM sources
		JOIN collections ON collections.id = sources.collection WHERE sources.id = ?`, id); err != nil {
		return Source{}, fmt.Errorf("db: read source %d: %w", id, err)
	}
	c.sourceCache.put(id, source)
	return source, nil
}

// sourceID looks a source up, and its collection.
func (v *Snapshot) sourceID(source Source) (id, collection uint64, ok bool, err error) {
	return sourceID(source, v.kindID)
}

// sourceID looks a source up among the ids of names.
func sourceID(source Source, idOf func(name []byte) (uint64, bool, error)) (id, collection uint64, ok bool, err error) {
	collection, ok, err = idOf(codec.CollectionKey(source.Collection))
	if !ok || err != nil {
		return 0, 0, false, err
	}
	id, ok, err = idOf(codec.SourceKey(collection, source.Path))
	return id, collection, ok, err
}

// Memory is the memory that the index takes, in bytes.
func (v *Snapshot) Memory() int { return v.Targets.Memory() + v.Records.Memory() + v.Names.Memory() }

const (
	// cacheSize bounds each half of a cache unless it says otherwise: 100,000 DIDs are about 10 MB.
	cacheSize = 100_000
	// didCacheBytes bounds each half of the cache of DIDs in bytes. 100,000 DIDs of 32 bytes stay below it; DIDs of 2 kB,
	// which only an attacker has, would take 200 MB.
	didCacheBytes = 12 << 20
	// kindCacheBytes bounds each half of the caches of collections and of sources in bytes: 30,000 usual ones. 100,000
	// sources with paths of 512 bytes would take 90 MB.
	kindCacheBytes = 4 << 20
	// cacheEntryBytes is about what an entry of a cache takes besides the bytes of its value.
	cacheEntryBytes = 64
)

// cache holds what was used lately: when its young half is full, the old half goes. It invalidates nothing: names never
// change, and a segmentSum says for which segments it is right. The zero cache is empty.
type cache[K comparable, V any] struct {
	most      int            // entries of each half; 0: cacheSize
	mostBytes int            // of each half; read only with size
	size      func(K, V) int // of a key and its value in bytes; nil: all are small

	mu         sync.Mutex
	young, old map[K]V
	bytes      int // of the young half
}

// newCache returns a cache whose halves are bounded in bytes.
func newCache[K comparable, V any](mostBytes int, size func(K, V) int) cache[K, V] {
	return cache[K, V]{mostBytes: mostBytes, size: size}
}

func nameSize(_ uint64, name string) int { return len(name) }

func sourceSize(_ uint64, s Source) int { return len(s.Collection) + len(s.Path) }

func (c *cache[K, V]) get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.find(key)
}

// getAll sets the value of each key, and returns the keys without one.
func (c *cache[K, V]) getAll(keys []K, values []V) (missing []K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, key := range keys {
		v, ok := c.find(key)
		if !ok {
			missing = append(missing, key)
			continue
		}
		values[i] = v
	}
	return missing
}

func (c *cache[K, V]) find(key K) (V, bool) {
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

// add adds a value, in place of the one that the key had.
func (c *cache[K, V]) add(key K, v V) {
	if before, ok := c.young[key]; ok {
		if c.size != nil {
			c.bytes -= c.size(key, before) + cacheEntryBytes
		}
		delete(c.young, key)
	}
	bytes := 0
	if c.size != nil {
		bytes = c.size(key, v) + cacheEntryBytes
		if bytes > c.mostBytes {
			delete(c.old, key)
			return
		}
	}
	isFull := len(c.young) >= cmp.Or(c.most, cacheSize) || c.size != nil && c.bytes+bytes > c.mostBytes
	if c.young == nil || isFull {
		c.young, c.old = map[K]V{}, c.young
		c.bytes = 0
	}
	c.young[key] = v
	c.bytes += bytes
}
