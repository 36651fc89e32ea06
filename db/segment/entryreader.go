package segment

import (
	"fmt"
	"sort"

	"weft.dev/weft/db/lsm"
)

// Below implements lsm.Run.
func (r *Run) Below(key []byte) (int64, error) {
	if r.head.Entries == 0 {
		return 0, nil
	}
	h, err := r.findBlock(key)
	if err != nil {
		return 0, err
	}
	block, err := r.dataBlock(h.id)
	if err != nil {
		return 0, err
	}
	it, _ := block.seek(key)
	return h.entries + int64(it.i), nil
}

// EntryReader implements lsm.Run.
func (r *Run) EntryReader() lsm.EntryReader { return &entryReader{run: r} }

// entryReader reads entries of a run by their number. It keeps the current block.
type entryReader struct {
	run    *Run
	handle blockHandle // of the current block
	it     columnIterator
}

// Key implements lsm.EntryReader.
func (r *entryReader) Key(i int64) ([]byte, error) {
	at := i - r.handle.entries
	if r.it.c == nil || at < 0 || at >= int64(r.it.c.n) {
		h, err := r.run.blockOfEntry(i)
		if err != nil {
			return nil, err
		}
		block, err := r.run.dataBlock(h.id)
		if err != nil {
			return nil, err
		}
		r.handle = h
		r.it = columnIterator{c: block}
		at = i - h.entries
	}
	if at < 0 || at >= int64(r.it.c.n) {
		return nil, r.run.readError(tableBlocks, r.handle.id, fmt.Errorf("%w: it has no entry %d", errDamaged, at))
	}
	if at < int64(r.it.i) {
		r.it = columnIterator{c: r.it.c}
	}
	r.it.c.skipTo(int(at), &r.it)
	for int64(r.it.i) <= at {
		_, _ = r.it.Next()
	}
	return r.it.key, nil
}

// blockOfEntry returns the data block that has entry i of the run. It reads the index blocks through the cache. The run
// must not be empty.
func (r *Run) blockOfEntry(i int64) (h blockHandle, err error) {
	id := r.head.Root
	for range r.head.Height {
		index, err := r.indexBlock(id)
		if err != nil {
			return h, err
		}
		// A damaged reference stops the search early, and is parsed again below.
		n := sort.Search(index.Len(), func(n int) bool {
			h, err := parseHandle(index.Value(n))
			return err != nil || h.entries > i
		})
		h, err = parseHandle(index.Value(max(n-1, 0)))
		if err != nil {
			return h, r.readError(tableNodes, id, err)
		}
		id = h.id
	}
	if id < r.head.First || id >= r.head.First+r.head.Blocks {
		return h, r.readError(tableBlocks, id, fmt.Errorf("%w: it is no block of the run", errDamaged))
	}
	return h, nil
}
