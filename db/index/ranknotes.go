package index

import (
	"cmp"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/segment"
)

// NoteRanks returns entries by target that note their newest and oldest rank and a sample in the meta data of a
// segment. They do so at their end, before segment.Write writes the meta data. The feed of an account passes over
// segments by their newest rank, and a page of a list opens them by their ranks, so the ranks include those of
// removals. The times of events don't bound them: a record may have any time.
func NoteRanks(entries segment.Entries, meta map[string]string) segment.Entries {
	return &rankNotes{Entries: entries, meta: meta, oldest: math.MaxUint64}
}

// rankNotes is entries of NoteRanks.
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
		if len(n.sample) == 2*SampleEntries {
			n.cut()
		}
	}
	return true, nil
}

// cut keeps the entries with the lowest hashes: a random sample that is the same each time.
func (n *rankNotes) cut() {
	slices.SortFunc(n.sample, func(a, b sampled) int { return cmp.Compare(a.hash, b.hash) })
	if len(n.sample) > SampleEntries {
		n.limit = n.sample[SampleEntries].hash
		n.sample = n.sample[:SampleEntries]
	}
}

// end writes the notes into the meta data.
func (n *rankNotes) end() {
	n.meta[NewestRank] = strconv.FormatUint(n.newest, 10)
	if n.sample == nil {
		return
	}
	n.meta[OldestRank] = strconv.FormatUint(n.oldest, 10)
	n.cut()
	var text []byte
	for _, e := range n.sample {
		text = binary.AppendUvarint(binary.AppendUvarint(text, e.source), e.rank)
	}
	n.meta[Sample] = base64.RawStdEncoding.EncodeToString(text)
}
