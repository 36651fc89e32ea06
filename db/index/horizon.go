package index

import (
	"bytes"
	"fmt"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/keep"
	"weft.dev/weft/db/lsm"
)

// What lies before the horizon of its source is out. Runs hold some of it until a compaction drops it, and the writer
// neither adds to it nor removes from it: its entries may be those of any moment. So no reader of a snapshot looks at
// them.

// InRecord returns the value of a record without the links that are out: the value itself where none is, nil where all
// are.
func (v *Snapshot) InRecord(key, value []byte) ([]byte, error) {
	return InRecord(v.Horizons, key, value)
}

// InRecord is Snapshot.InRecord by horizons alone.
func InRecord(h *keep.Horizons, key, value []byte) ([]byte, error) {
	if h.Newest() == 0 || len(value) == 0 || codec.IsRevisionKey(key) {
		return value, nil
	}
	_, _, rkey, err := codec.DecodeRecordKey(key)
	if err == nil {
		value, err = codec.CutLinks(value, rkey, func(source, rank uint64) bool { return rank < h.Of(source) })
	}
	if err != nil {
		return nil, fmt.Errorf("db: links of the record %x: %w", key, err)
	}
	return value, nil
}

// FindRecord returns the value of a record; nil: it has no links.
func (v *Snapshot) FindRecord(key []byte, hint lsm.Hint) ([]byte, error) {
	value, ok, err := v.Records.Find(key, hint)
	if !ok || err != nil {
		return nil, err
	}
	return v.InRecord(key, value)
}

// Kept returns what a compaction keeps of an entry of a run, by the id of the run in a segment: its value, or false
// where all of it is out.
func Kept(h *keep.Horizons, run int) func(key, value []byte) ([]byte, bool, error) {
	if h.Newest() == 0 {
		return nil
	}
	switch run {
	case RunTargets:
		return func(key, value []byte) ([]byte, bool, error) {
			source, at, err := codec.DecodeID(key[codec.TargetLen(key):])
			if err != nil || len(at) < 8 {
				return nil, false, fmt.Errorf("db: link key %x: %w", key, codec.ErrMalformed)
			}
			return value, !isOut(h.Of(source), at), nil
		}
	case RunRecords:
		return func(key, value []byte) ([]byte, bool, error) {
			in, err := InRecord(h, key, value)
			return in, len(in) > 0 || len(value) == 0, err
		}
	}
	return nil
}

// IsOut reports whether an entry by target is out.
func (v *Snapshot) IsOut(key []byte) bool {
	if v.Horizons.Newest() == 0 {
		return false
	}
	source, at, err := codec.DecodeID(key[codec.TargetLen(key):])
	return err == nil && len(at) >= 8 && isOut(v.Horizons.Of(source), at)
}

// isOut reports whether a position is before a horizon. at is its first 8 bytes or more.
func isOut(horizon uint64, at []byte) bool {
	return horizon > 0 && bytes.Compare(at[:8], codec.RankPrefix(horizon)) > 0
}

// horizonKey returns the first key of a list that is out; the end of the list where it has no horizon.
func horizonKey(prefix []byte, horizon uint64) []byte {
	if horizon == 0 {
		return lsm.PrefixEnd(prefix)
	}
	return lsm.PrefixEnd(append(bytes.Clone(prefix), codec.RankPrefix(horizon)...))
}

// sourceOf returns the source of a list's prefix; 0: it is none.
func sourceOf(prefix []byte) uint64 {
	source, _, err := codec.DecodeID(prefix[codec.TargetLen(prefix):])
	if err != nil {
		return 0
	}
	return source
}
