package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/lsm"
)

// scan iterates over the links after a position, newest first, or oldest first in reverse; nil: from the start.
func (l List) scan(ctx context.Context, after []byte, reverse bool) *lsm.MergingIterator {
	from := l.from
	to := l.to
	switch at := append(l.Prefix[:len(l.Prefix):len(l.Prefix)], after...); {
	case after == nil:
	case reverse:
		if bytes.Compare(at, to) < 0 {
			to = at
		}
	case bytes.Compare(at, from) >= 0:
		from = append(at, 0) // no key lies between a key and the same with a zero
	}
	return l.iterate(ctx, from, to, reverse)
}

// iterate iterates over the links with from <= key < to. It opens a segment when it comes to the segment's newest or
// oldest rank: the newest links of a long list are mostly in few segments.
func (l List) iterate(ctx context.Context, from, to []byte, reverse bool) *lsm.MergingIterator {
	bounds := make([]byte, 0, len(l.v.Files.Files)*(len(l.Prefix)+8))
	bound := func(run int) []byte {
		rank := l.v.newestIn(run)
		if reverse {
			rank = l.v.oldestIn(run)
		}
		if rank == 0 {
			return nil
		}
		inverted := ^rank
		if reverse {
			inverted++ // behind the keys of the rank
		}
		at := len(bounds)
		bounds = binary.BigEndian.AppendUint64(append(bounds, l.Prefix...), inverted)
		return bounds[at:len(bounds):len(bounds)]
	}
	return l.v.Targets.ScanBounded(l.Prefix, from, to, reverse, bound).WithContext(ctx)
}

// Scan iterates over the links, newest first.
func (l List) Scan(ctx context.Context) *lsm.MergingIterator { return l.scan(ctx, nil, false) }

// Position returns the position of the scan.
func (l List) Position(sc *lsm.MergingIterator) (codec.ListPosition, error) {
	p, _, err := codec.DecodePosition(sc.Key()[len(l.Prefix):])
	if err != nil {
		return p, fmt.Errorf("db: link key %x: %w", sc.Key(), err)
	}
	return p, nil
}

// behindRemoved scans the list from the first link after a key; nil: there is none. Removed links lie between, and sum
// up to none: the time of the first link is found in as many steps as a time has bits.
func (l List) behindRemoved(ctx context.Context, key []byte, reverse bool) (*lsm.MergingIterator, error) {
	from := append(bytes.Clone(key), 0)
	to := l.to
	if reverse {
		from = l.from
		to = key
	}
	sum, err := l.between(from, to)
	if err != nil || sum == 0 {
		return nil, err
	}
	n := len(l.Prefix)
	at := func(inverted uint64) []byte { return binary.BigEndian.AppendUint64(bytes.Clone(l.Prefix), inverted) }
	// No link lies between the key and at(none), and one between it and at(some), in the direction of the scan.
	none := binary.BigEndian.Uint64(key[n : n+8])
	some := uint64(math.MaxUint64)
	if reverse {
		none = none + 1
		some = 0
	}
	for max(none, some)-min(none, some) > 1 {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		middle := none/2 + some/2 + none&some&1
		if reverse {
			sum, err = l.between(maxKey(at(middle), from), to)
		} else {
			sum, err = l.between(from, minKey(at(middle), to))
		}
		if err != nil {
			return nil, err
		}
		if sum == 0 {
			none = middle
		} else {
			some = middle
		}
	}
	if reverse {
		to = minKey(at(none), to)
	} else {
		from = maxKey(at(none), from)
	}
	return l.iterate(ctx, from, to, reverse).LimitTombstones(deadInRow), nil
}
