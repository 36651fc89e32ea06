package index

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"weft.dev/weft/db/body"
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/lsm"
)

// Bodies gives the content of records as they are now, in the order asked for: the zero Body for one that is not kept,
// that links to nothing or whose account is not active.
func (s *Queries) Bodies(ctx context.Context, records []Record) ([]Body, error) {
	if len(records) > MaxBodies {
		return nil, fmt.Errorf("db: bodies of %d records requested, at most %d allowed", len(records), MaxBodies)
	}
	v := s.core.Acquire()
	defer s.core.Release(v)
	out := make([]Body, len(records))
	at := map[uint64][]int{} // where the body of a log row belongs
	actors := map[uint64]uint64{}
	var seqs, ids []uint64
	for i, r := range records {
		actor, seq, err := v.bodyOf(r)
		if err != nil {
			return nil, err
		}
		if seq <= v.BodiesSince {
			continue
		}
		if at[seq] == nil {
			seqs = append(seqs, seq)
			ids = append(ids, actor)
		}
		at[seq] = append(at[seq], i)
		actors[seq] = actor
	}
	if len(seqs) == 0 {
		return out, nil
	}
	active, err := s.active(ctx, ids)
	if err != nil {
		return nil, err
	}
	err = s.eachBody(ctx, seqs, func(seq uint64, digest, frame []byte) error {
		if !active[actors[seq]] {
			return nil
		}
		b, err := OpenBody(digest, frame)
		if err != nil {
			return fmt.Errorf("db: the body of log row %d: %w", seq, err)
		}
		for _, i := range at[seq] {
			out[i] = b
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// eachBody calls do for the stored bodies of log rows, in no order.
func (s *Queries) eachBody(ctx context.Context, seqs []uint64, do func(seq uint64, digest, frame []byte) error) error {
	query, args, err := sqlx.In("SELECT seq, digest, body FROM bodies JOIN blocks ON blocks.id = block WHERE seq IN (?)",
		seqs)
	if err != nil {
		return fmt.Errorf("db: read bodies: %w", err)
	}
	rows, err := s.core.Reader.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("db: read bodies: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var seq uint64
		var digest, frame []byte
		if err := rows.Scan(&seq, &digest, &frame); err != nil {
			return fmt.Errorf("db: read bodies: %w", err)
		}
		err := do(seq, digest, frame)
		if err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("db: read bodies: %w", err)
	}
	return nil
}

// OpenBody decodes a block, and holds it against its digest.
func OpenBody(digest, frame []byte) (Body, error) {
	cbor, err := body.Decode(frame)
	if err != nil {
		return Body{}, err
	}
	sum := body.Sum(cbor)
	if string(sum[:]) != string(digest) {
		return Body{}, fmt.Errorf("it is damaged: its digest is %x, not %x", sum, digest)
	}
	return Body{CID: sum.CID(), CBOR: cbor}, nil
}

// bodyOf is the log row that a record's value names for its body, and whose the record is; 0: none.
func (v *Snapshot) bodyOf(r Record) (actor, seq uint64, err error) {
	actor, ok, err := v.ID(codec.DIDKey(r.DID))
	if !ok || err != nil {
		return 0, 0, err
	}
	collection, ok, err := v.ID(codec.CollectionKey(r.Collection))
	if !ok || err != nil {
		return 0, 0, err
	}
	value, err := v.FindRecord(codec.RecordKey(nil, actor, collection, codec.AppendRkey(nil, r.Rkey)), lsm.Likely)
	return actor, codec.BodyRef(value), err
}

// active returns which of these accounts are active.
func (s *Queries) active(ctx context.Context, ids []uint64) (map[uint64]bool, error) {
	query, args, err := sqlx.In("SELECT id FROM actors WHERE id IN (?) AND status = 0", ids)
	if err != nil {
		return nil, fmt.Errorf("db: read statuses: %w", err)
	}
	var found []uint64
	if err := s.core.Reader.SelectContext(ctx, &found, query, args...); err != nil {
		return nil, fmt.Errorf("db: read statuses: %w", err)
	}
	active := make(map[uint64]bool, len(found))
	for _, id := range found {
		active[id] = true
	}
	return active, nil
}
