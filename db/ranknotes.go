package db

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/segment"
)

// rankNotes iterates over entries by target, and notes their newest and oldest rank and a sample in the meta data of
// the segment. It does so at the end of the entries, before segment.Write writes the meta data. The feed of an account
// skips segments by their newest rank, so the newest rank includes removals. The times of events don't bound it: a
// record may have any time.
type rankNotes struct {
	segment.Entries
	meta           map[string]string
	newest, oldest uint64
	sample         []sampled
	limit          uint64 // a full sample only takes entries with a lower hash
}

// sampled is an entry of a sample.
type sampled struct{ hash, source, rank uint64 }

// Next implements segment.Entries.
func (n *rankNotes) Next() (bool, error) {
	more, err := n.Entries.Next()
	if err != nil {
		return false, err
	}
	if !more {
		n.end()
		return false, nil
	}
	key := n.Key()
	source, position, err := codec.DecodeID(key[codec.TargetLen(key):])
	if err != nil {
		return false, fmt.Errorf("db: link key %x: %w", key, err)
	}
	p, _, err := codec.DecodePosition(position)
	if err != nil {
		return false, fmt.Errorf("db: link key %x: %w", key, err)
	}
	n.newest = max(n.newest, p.Rank)
	n.oldest = min(n.oldest, p.Rank)
	if hash := xxhash.Sum64(key); n.limit == 0 || hash < n.limit {
		n.sample = append(n.sample, sampled{hash, source, p.Rank})
		if len(n.sample) == 2*index.SampleEntries {
			n.cut()
		}
	}
	return true, nil
}

// cut keeps the entries with the lowest hashes: a random sample that is the same each time.
func (n *rankNotes) cut() {
	slices.SortFunc(n.sample, func(a, b sampled) int { return cmp.Compare(a.hash, b.hash) })
	if len(n.sample) > index.SampleEntries {
		n.limit = n.sample[index.SampleEntries].hash
		n.sample = n.sample[:index.SampleEntries]
	}
}

// end writes the notes into the meta data.
func (n *rankNotes) end() {
	n.meta[index.NewestRank] = strconv.FormatUint(n.newest, 10)
	if n.sample == nil {
		return
	}
	n.meta[index.OldestRank] = strconv.FormatUint(n.oldest, 10)
	n.cut()
	var text []byte
	for _, e := range n.sample {
		text = binary.AppendUvarint(binary.AppendUvarint(text, e.source), e.rank)
	}
	n.meta[index.Sample] = base64.RawStdEncoding.EncodeToString(text)
}
