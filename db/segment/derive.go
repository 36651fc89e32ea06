package segment

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/cespare/xxhash/v2"
	"weft.dev/weft/db/distinct"
	"weft.dev/weft/db/lsm"
)

// errOrder is what Write answers for entries that are out of order.
var errOrder = errors.New("keys are not in order")

// summary is what follows from a run's entries: it is gathered when a run is written, and once more when it is verified.
type summary struct {
	kind Kind
	info RunInfo
	// minutes and hashes are whole at the end; each set is handed to emit as soon as its list ends.
	minutes *roaring.Bitmap
	hashes  *hashes
	list    listSet
	emit    func(prefix []byte, set *distinct.Set) error

	key, prefix []byte // of the entry before
}

// listSet is the list at hand: its first members as they come, until there are enough for a set.
type listSet struct {
	over   int64
	open   bool
	prefix []byte
	first  []member
	set    *distinct.Set
}

type member struct {
	id     uint32
	weight int
}

// newSummary begins a run. spill is the path for hashes that don't fit into memory.
func newSummary(id int, kind Kind, listOver int64, spill string, emit func([]byte, *distinct.Set) error) *summary {
	d := &summary{kind: kind, info: RunInfo{ID: id}, hashes: newHashes(spill), emit: emit}
	d.list.over = listOver
	if kind.Minute != nil {
		d.minutes = roaring.New()
	}
	return d
}

// add takes the next entry and gives its weight.
func (d *summary) add(key, value []byte) (weight int, err error) {
	if len(key) > lsm.MaxKey || len(value) > MaxValue {
		return 0, fmt.Errorf("an entry has a key of %d bytes and a value of %d", len(key), len(value))
	}
	if d.info.Entries > 0 && bytes.Compare(key, d.key) <= 0 {
		return 0, fmt.Errorf("%w: %x after %x", errOrder, key, d.key)
	}
	group := key[:d.kind.Keyspace.Prefix(key)]
	if d.info.Entries == 0 || !bytes.Equal(group, d.prefix) {
		d.info.Prefixes++
		if err := d.hashes.add(xxhash.Sum64(group)); err != nil {
			return 0, err
		}
		d.prefix = append(d.prefix[:0], group...)
	}
	if d.minutes != nil {
		if h, ok := minuteOf(d.kind, key); ok {
			d.minutes.Add(h)
		}
	}
	weight = d.kind.Keyspace.DeltaOf(value)
	if d.kind.List != nil {
		if err := d.addToList(key, weight); err != nil {
			return 0, err
		}
	}
	d.key = append(d.key[:0], key...)
	d.info.Entries++
	d.info.Total += int64(weight)
	d.info.Raw += int64(len(key) + len(value))
	return weight, nil
}

func (d *summary) addToList(key []byte, weight int) error {
	n, id, ok := d.kind.List(key)
	if !ok {
		return d.endList()
	}
	l := &d.list
	if !l.open || !bytes.Equal(l.prefix, key[:n]) {
		if err := d.endList(); err != nil {
			return err
		}
		l.open, l.prefix = true, append(l.prefix[:0], key[:n]...)
	}
	if l.set != nil {
		l.set.Add(id, weight)
		return nil
	}
	if l.first = append(l.first, member{id, weight}); int64(len(l.first)) > l.over {
		l.set = &distinct.Set{}
		for _, m := range l.first {
			l.set.Add(m.id, m.weight)
		}
	}
	return nil
}

func (d *summary) endList() error {
	l := &d.list
	set := l.set
	l.open, l.first, l.set = false, l.first[:0], nil
	if set == nil {
		return nil
	}
	d.info.Sets++
	return d.emit(l.prefix, set)
}

func (d *summary) close() { d.hashes.close() }

// minuteOf is the minute of a key as a run's set of minutes holds it; one that doesn't fit counts as none.
func minuteOf(k Kind, key []byte) (uint32, bool) {
	h, ok := k.Minute(key)
	return uint32(h), ok && h >= 0 && h <= math.MaxUint32
}
