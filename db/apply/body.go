package apply

import (
	"cmp"
	"slices"

	"weft.dev/weft/db/body"
)

// newBody is the body of an event's record. The zero newBody: none.
type newBody struct {
	digest body.Digest
	known  bool   // the digest is the record's
	cbor   []byte // nil: not to be kept
}

// ref returns the log row that a record's value names for its body, when row seq brings it.
func (b *newBody) ref(seq uint64) uint64 {
	if b.cbor == nil {
		return 0
	}
	return seq
}

// bodyOf returns the body of a record that links. A body that doesn't match its CID, or is too large, is not stored;
// the record's links stay, because the extractor has read them.
func (f *Applier) bodyOf(e *Event) (b newBody) {
	if !f.state.Bodies.On || len(f.next) == 0 {
		return b
	}
	if e.CID != "" {
		b.digest, b.known = body.ParseCID(e.CID)
	}
	if e.Body == nil {
		return b
	}
	if len(e.Body) > body.Max || e.CID != "" && !b.known {
		f.stats.BadBodies++
		return b
	}
	switch sum := body.Sum(e.Body); {
	case e.CID == "":
		b.digest = sum
		b.known = true
		b.cbor = e.Body
	case sum == b.digest:
		b.cbor = e.Body
	default:
		f.stats.BadBodies++
	}
	return b
}

// readBodyChanges reports whether a record whose links stay has another body than that of log row replaced; 0: it has
// none. Where one of them is unknown, an event that may be a repeat changes nothing.
func (f *Applier) readBodyChanges(e *Event, b *newBody, replaced uint64) bool {
	if !f.state.Bodies.On || len(f.next) == 0 {
		return false
	}
	if replaced != 0 {
		old, ok := f.readDigest(replaced)
		if ok && b.known {
			return old != b.digest
		}
		if ok {
			return !f.mayRepeat(e)
		}
	}
	return b.cbor != nil && !f.mayRepeat(e)
}

// readDigest returns the digest of a log row's body, of this batch or of an earlier one; ok is false when the body is
// gone.
func (f *Applier) readDigest(seq uint64) (body.Digest, bool) {
	bySeq := func(b BodyRow, seq uint64) int { return cmp.Compare(b.Seq, seq) }
	if i, ok := slices.BinarySearchFunc(f.rows.Bodies, seq, bySeq); ok {
		return f.rows.Bodies[i].Digest, true
	}
	d, ok, err := f.state.Bodies.Digest(seq)
	f.d.fail(err)
	return d, ok
}

// keepBody stores a body with the newest log row.
func (f *Applier) keepBody(b *newBody) {
	if b.cbor != nil {
		f.rows.Bodies = append(f.rows.Bodies, BodyRow{f.seq, b.digest, b.cbor})
		f.stats.Bodies++
	}
}

// purgeBody deletes the body of a deleted account's record at once, before its log row goes.
func (f *Applier) purgeBody(value []byte) {
	if seq := f.state.Bodies.current(value); seq != 0 {
		f.rows.Purged = append(f.rows.Purged, seq)
	}
}
