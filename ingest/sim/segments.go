package sim

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/bluesky-social/jetstream/segment"
	"github.com/jcalabro/atmos/cbor"
)

// sealed is one segment of the archive.
type sealed struct {
	index       uint64
	name        string
	path        string
	size        int64
	header      segment.Header
	blocks      []segment.BlockInfo
	collections []string
	reader      *segment.Reader
}

// segmentName returns a segment's file name: its index in ten digits of base 36.
func segmentName(index uint64) string {
	s := strconv.FormatUint(index, 36)
	return "seg_" + strings.Repeat("0", 10-len(s)) + s + ".jss"
}

// segmentIndex returns the index in a segment's file name.
func segmentIndex(name string) (uint64, bool) {
	mid := strings.TrimSuffix(strings.TrimPrefix(name, "seg_"), ".jss")
	index, err := strconv.ParseUint(mid, 36, 64)
	return index, err == nil && segmentName(index) == name
}

// clearSegments removes the segments of an earlier run: a Network always starts from the beginning.
func clearSegments(dir string) error {
	old, err := filepath.Glob(filepath.Join(dir, "seg_*.jss"))
	if err != nil {
		return fmt.Errorf("sim: list segments: %w", err)
	}
	for _, path := range old {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("sim: remove segment of an earlier run: %w", err)
		}
	}
	return nil
}

// writeSegment seals events into the archive file of the index. next returns batches until it returns none.
func writeSegment(dir string, index uint64, next func() []Event) (*sealed, error) {
	seg := &sealed{index: index, name: segmentName(index)}
	seg.path = filepath.Join(dir, seg.name)
	w, err := segment.New(segment.Config{Path: seg.path})
	if err != nil {
		return nil, fmt.Errorf("sim: new segment: %w", err)
	}
	for batch := next(); len(batch) > 0; batch = next() {
		for i := range batch {
			full, err := w.Append(toSegment(&batch[i]))
			if err == nil && full {
				err = w.Flush()
			}
			if err != nil {
				_ = w.Close()
				return nil, fmt.Errorf("sim: segment %s, seq %d: %w", seg.name, batch[i].Seq, err)
			}
		}
	}
	res, err := w.Seal()
	if err != nil {
		return nil, fmt.Errorf("sim: seal %s: %w", seg.name, err)
	}
	seg.size = res.FileSize
	seg.reader, err = segment.Open(segment.ReaderConfig{Path: seg.path})
	if err != nil {
		return nil, fmt.Errorf("sim: open %s: %w", seg.name, err)
	}
	seg.header = seg.reader.Header()
	seg.blocks = seg.reader.Blocks()
	seg.collections = seg.reader.Collections()
	return seg, nil
}

func toSegment(e *Event) segment.Event {
	se := segment.Event{Seq: e.Seq, WitnessedAt: e.TimeUS, DID: e.DID, Payload: e.payload()}
	switch e.Kind {
	case KindAccount:
		se.Kind = segment.KindAccount
		return se
	case KindIdentity:
		se.Kind = segment.KindIdentity
		return se
	case KindSync:
		se.Kind = segment.KindSync
		return se
	}
	se.Collection = e.Collection
	se.Rkey = e.Rkey
	se.Rev = e.Rev
	switch {
	case e.Resync:
		se.Kind = segment.KindCreateResync
	case e.Operation == OpCreate:
		se.Kind = segment.KindCreate
	case e.Operation == OpUpdate:
		se.Kind = segment.KindUpdate
	default:
		se.Kind = segment.KindDelete
	}
	return se
}

// read returns the events of the segment from a seq on, up to the end of its block.
func (s *sealed) read(from uint64) ([]*entry, error) {
	i := sort.Search(len(s.blocks), func(i int) bool { return s.blocks[i].MaxSeq >= from })
	rows, err := s.reader.DecodeBlock(i)
	if err != nil {
		return nil, fmt.Errorf("sim: block %d of %s: %w", i, s.name, err)
	}
	out := make([]*entry, 0, len(rows))
	for j := range rows {
		if rows[j].Seq < from {
			continue
		}
		e, err := fromSegment(&rows[j])
		if err != nil {
			return nil, fmt.Errorf("sim: block %d of %s, seq %d: %w", i, s.name, rows[j].Seq, err)
		}
		out = append(out, &entry{Event: e})
	}
	return out, nil
}

func fromSegment(se *segment.Event) (Event, error) {
	e := Event{Seq: se.Seq, TimeUS: se.WitnessedAt, DID: se.DID}
	if se.Kind.IsCommit() {
		e.Kind = KindCommit
		e.Collection = se.Collection
		e.Rkey = se.Rkey
		e.Rev = se.Rev
		e.Resync = se.Kind.IsResyncReplacement()
		switch se.Kind {
		case segment.KindDelete:
			e.Operation = OpDelete
			return e, nil
		case segment.KindUpdate:
			e.Operation = OpUpdate
		default:
			e.Operation = OpCreate
		}
		e.CBOR = se.Payload
		e.CID = cidOf(se.Payload)
		return e, nil
	}
	v, err := cbor.Unmarshal(se.Payload)
	if err != nil {
		return e, fmt.Errorf("sim: payload: %w", err)
	}
	m, _ := v.(map[string]any)
	switch se.Kind {
	case segment.KindAccount:
		e.Kind = KindAccount
		e.Active, _ = m["active"].(bool)
		e.Status, _ = m["status"].(string)
	case segment.KindIdentity:
		e.Kind = KindIdentity
		e.Handle, _ = m["handle"].(string)
	case segment.KindSync:
		e.Kind = KindSync
		e.Rev, _ = m["rev"].(string)
	}
	return e, nil
}
