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

// Picker implements lsm.Run.
func (r *Run) Picker() lsm.Picker { return &picker{run: r} }

// picker reads entries of a run by their number. It keeps the current block.
type picker struct {
	run    *Run
	handle blockHandle // of the current block
	it     columnIterator
}

// Key implements lsm.Picker.
func (p *picker) Key(i int64) ([]byte, error) {
	at := i - p.handle.entries
	if p.it.c == nil || at < 0 || at >= int64(p.it.c.n) {
		h, err := p.run.blockOfEntry(i)
		if err != nil {
			return nil, err
		}
		block, err := p.run.dataBlock(h.id)
		if err != nil {
			return nil, err
		}
		p.handle = h
		p.it = columnIterator{c: block}
		at = i - h.entries
	}
	if at < 0 || at >= int64(p.it.c.n) {
		return nil, p.run.readError(tableBlocks, p.handle.id, fmt.Errorf("%w: it has no entry %d", errDamaged, at))
	}
	if at < int64(p.it.i) {
		p.it = columnIterator{c: p.it.c}
	}
	for int64(p.it.i) <= at {
		_, _ = p.it.Next()
	}
	return p.it.key, nil
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
