package index

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"weft.dev/weft/db/keep"
	"weft.dev/weft/db/logrow"
)

// ManifestRow is a row of the manifest.
type ManifestRow struct {
	ID          uint64 `db:"id"`
	File        string `db:"file"`
	Level       int    `db:"level"`
	FromSeq     uint64 `db:"from_seq"`
	ToSeq       uint64 `db:"to_seq"`
	Links       int64  `db:"links"`
	Linking     int64  `db:"linking"`
	Actors      uint64 `db:"actors"`
	Collections uint64 `db:"collections"`
	Sources     uint64 `db:"sources"`
	Bytes       int64  `db:"bytes"`
	Checksum    string `db:"checksum"`
	CreatedUS   int64  `db:"created_us"`

	LogChecksum   *int64 `db:"log_checksum"` // as of ToSeq, like the next; nil: an older weft made the segment
	NamesChecksum *int64 `db:"names_checksum"`

	// in the file: the newest rank of an entry by target, microseconds since 1970; 0: unknown, an older weft made the
	// segment
	NewestRank uint64 `db:"-"`
	OldestRank uint64 `db:"-"` // the oldest rank of one, likewise; 0: unknown, or there is one of 1970
}

// NewestRank is the key of ManifestRow.NewestRank in a segment's meta data. The key newest_us of older segments had the
// newest time of any event. Ranks went beyond it: it left out events that were dated ahead of our clock.
const NewestRank = "newest_rank"

// OldestRank is the key of ManifestRow.OldestRank in a segment's meta data.
const OldestRank = "oldest_rank"

// Sample is the key of a sample of the entries by target in a segment's meta data: of each its source and its rank, as
// uvarints, in base64. By it a compaction knows what share of a segment is out. SampleEntries bounds it: with 256, the
// share is wrong by 3 % mostly and by 10 % hardly ever.
const (
	Sample        = "sample"
	SampleEntries = 256
)

// Out says how much of a segment is out, by a sample of its entries by target.
type Out struct {
	Share float64 // of the segment, from 0 to 1; 0 where it is not known
	Left  float64 // share that is not out yet, and whose sources have a horizon
}

// Out returns how much of a segment is out.
func (f *File) Out(h *keep.Horizons) Out {
	if h.Newest() <= f.OldestRank && f.OldestRank > 0 {
		return Out{}
	}
	text, err := base64.RawStdEncoding.DecodeString(f.Meta()[Sample])
	if err != nil {
		return Out{}
	}
	out, left, all := 0, 0, 0
	for len(text) > 0 {
		source, n := binary.Uvarint(text)
		rank, m := binary.Uvarint(text[max(n, 0):])
		if n <= 0 || m <= 0 {
			return Out{}
		}
		text = text[n+m:]
		all++
		switch horizon := h.Of(source); {
		case rank < horizon:
			out++
		case horizon > 0:
			left++
		}
	}
	return Out{float64(out) / float64(max(all, 1)), float64(left) / float64(max(all, 1))}
}

// ReadManifestRows reads the rows of the segments, oldest first.
func ReadManifestRows(ctx context.Context, q logrow.Queryer) ([]ManifestRow, error) {
	var rows []ManifestRow
	if err := q.SelectContext(ctx, &rows, "SELECT * FROM segments ORDER BY from_seq, id"); err != nil {
		return nil, fmt.Errorf("read the manifest: %w", err)
	}
	return rows, nil
}

// Checksums are the sums as of a segment's newest row.
func (r *ManifestRow) Checksums() logrow.Checksums {
	if r.LogChecksum == nil || r.NamesChecksum == nil {
		return logrow.Checksums{}
	}
	return logrow.Checksums{Log: uint64(*r.LogChecksum), Names: uint64(*r.NamesChecksum), Known: true}
}

// SetChecksums is the reverse of checksums.
func (r *ManifestRow) SetChecksums(c logrow.Checksums) {
	r.LogChecksum = nil
	r.NamesChecksum = nil
	if c.Known {
		log := int64(c.Log)
		names := int64(c.Names)
		r.LogChecksum = &log
		r.NamesChecksum = &names
	}
}

// Names returns the newest ids as of the segment's newest row.
func (r *ManifestRow) Names() logrow.NameBounds {
	return logrow.NameBounds{Actors: r.Actors, Collections: r.Collections, Sources: r.Sources}
}
