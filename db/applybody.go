package db

import (
	"cmp"
	"slices"

	"weft.dev/weft/db/body"
)

// newBody is what an event says of its record's content. The zero newBody: nothing.
type newBody struct {
	digest body.Digest
	known  bool   // the digest is the record's
	cbor   []byte // nil: not to be kept
}

// bodyRow is a body that a log row brings.
type bodyRow struct {
	seq    uint64
	digest body.Digest
	cbor   []byte // the event's
}

// replacedRow is a log row that puts the body of another one out of date.
type replacedRow struct {
	seq, body uint64
}

// ref is how a record's value names its body, when the log row seq brings it.
func (b *newBody) ref(seq uint64) uint64 {
	if b.cbor == nil {
		return 0
	}
	return seq
}

// bodyOf takes the content of a record that links. What is not what its CID says, or too large, is left out: the record's
// links stay, for the extractor has read them from what there was.
func (f *applier) bodyOf(e *Event) (b newBody) {
	if !f.state.bodies.on || len(f.next) == 0 {
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
		b.digest, b.known, b.cbor = sum, true, e.Body
	case sum == b.digest:
		b.cbor = e.Body
	default:
		f.stats.BadBodies++
	}
	return b
}

// readBodyChanges says whether a record whose links stay has another body than the one of the log row was, 0 for none. Where
// that can't be told, for the one or the other is not known, an event that may be a repeat changes nothing.
func (f *applier) readBodyChanges(e *Event, b *newBody, replaced uint64) bool {
	if !f.state.bodies.on || len(f.next) == 0 {
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

// readDigest is that of a log row's body, of this batch or of one before; ok is false when the body is gone.
func (f *applier) readDigest(seq uint64) (body.Digest, bool) {
	if i, ok := slices.BinarySearchFunc(f.rows.bodies, seq, func(b bodyRow, seq uint64) int { return cmp.Compare(b.seq, seq) }); ok {
		return f.rows.bodies[i].digest, true
	}
	d, ok, err := f.state.bodies.digest(seq)
	f.d.fail(err)
	return d, ok
}

// keepBody makes a body that of the newest log row.
func (f *applier) keepBody(b *newBody) {
	if b.cbor != nil {
		f.rows.bodies = append(f.rows.bodies, bodyRow{f.seq, b.digest, b.cbor})
		f.stats.Bodies++
	}
}

// purgeBody lets the body of a deleted account's record go at once, and not with the log row.
func (f *applier) purgeBody(value []byte) {
	if seq := f.state.bodies.current(value); seq != 0 {
		f.rows.purged = append(f.rows.purged, seq)
	}
}
