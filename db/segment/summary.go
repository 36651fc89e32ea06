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

// errOrder is the error of Write for entries that are out of order.
var errOrder = errors.New("keys are not in order")

// summary computes the data that is derived from a run's entries. Write stores it, and Verify computes it again.
type summary struct {
	kind Kind
	info RunInfo
	// minutes and hashes are complete at the end; each set goes to emit at the end of its list.
	minutes *roaring.Bitmap
	hashes  *hashes
	list    listSet
	emit    func(prefix []byte, set *distinct.Set) error

	key, prefix []byte // of the previous entry
}

// listSet is the current list. It keeps the first members until there are enough for a set.
type listSet struct {
	over   int64 // a list of more entries gets a set
	open   bool
	prefix []byte
	first  []member
	set    *distinct.Set
}

type member struct {
	id    uint32
	delta int
}

// newSummary returns the summary of an empty run. spill is the path for hashes that exceed the memory.
func newSummary(id int, kind Kind, listOver int64, spill string, emit func([]byte, *distinct.Set) error) *summary {
	s := &summary{kind: kind, info: RunInfo{ID: id}, hashes: newHashes(spill), emit: emit}
	s.list.over = listOver
	if kind.Minute != nil {
		s.minutes = roaring.New()
	}
	return s
}

// add adds the next entry and returns its delta.
func (s *summary) add(key, value []byte) (delta int, err error) {
	if len(key) > lsm.MaxKey || len(value) > MaxValue {
		return 0, fmt.Errorf("an entry has a key of %d bytes and a value of %d", len(key), len(value))
	}
	if s.info.Entries > 0 && bytes.Compare(key, s.key) <= 0 {
		return 0, fmt.Errorf("%w: %x after %x", errOrder, key, s.key)
	}
	prefix := key[:s.kind.Keyspace.Prefix(key)]
	if s.info.Entries == 0 || !bytes.Equal(prefix, s.prefix) {
		s.info.Prefixes++
		if err := s.hashes.add(xxhash.Sum64(prefix)); err != nil {
			return 0, err
		}
		s.prefix = append(s.prefix[:0], prefix...)
	}
	if s.minutes != nil {
		if m, ok := minuteOf(s.kind, key); ok {
			s.minutes.Add(m)
		}
	}
	delta = s.kind.Keyspace.DeltaOf(value)
	if s.kind.List != nil {
		if err := s.addToList(key, delta); err != nil {
			return 0, err
		}
	}
	s.key = append(s.key[:0], key...)
	s.info.Entries++
	s.info.Total += int64(delta)
	s.info.Raw += int64(len(key) + len(value))
	return delta, nil
}

func (s *summary) addToList(key []byte, delta int) error {
	n, id, ok := s.kind.List(key)
	if !ok {
		return s.endList()
	}
	l := &s.list
	if !l.open || !bytes.Equal(l.prefix, key[:n]) {
		if err := s.endList(); err != nil {
			return err
		}
		l.open = true
		l.prefix = append(l.prefix[:0], key[:n]...)
	}
	if l.set != nil {
		l.set.Add(id, delta)
		return nil
	}
	l.first = append(l.first, member{id, delta})
	if int64(len(l.first)) > l.over {
		l.set = &distinct.Set{}
		for _, m := range l.first {
			l.set.Add(m.id, m.delta)
		}
	}
	return nil
}

// endList ends the current list and emits its set, if it has one.
func (s *summary) endList() error {
	l := &s.list
	set := l.set
	l.open = false
	l.first = l.first[:0]
	l.set = nil
	if set == nil {
		return nil
	}
	s.info.Sets++
	return s.emit(l.prefix, set)
}

func (s *summary) close() { s.hashes.close() }

// minuteOf returns the minute of a key as a run's bitmap stores it. A minute out of the bitmap's range counts as none.
func minuteOf(k Kind, key []byte) (uint32, bool) {
	m, ok := k.Minute(key)
	return uint32(m), ok && m >= 0 && m <= math.MaxUint32
}
