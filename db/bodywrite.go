package db

import (
	"database/sql"
	"errors"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/body"
	"weft.dev/weft/db/insert"
)

// writeBodies writes a batch's bodies, each block before the rows that use it, and deletes those of deleted accounts.
func (s *Store) writeBodies(tx *sql.Tx, rs *apply.Rows) error {
	if len(rs.Bodies)+len(rs.Replaced)+len(rs.Purged) == 0 {
		return nil
	}
	if err := s.failpoint("bodies"); err != nil {
		return err
	}
	ins := &s.inserts
	blocks, err := s.writeBlocks(tx, rs.Bodies)
	if err != nil {
		return err
	}
	for i := range rs.Bodies {
		if err := ins.bodies.Put(tx, int64(rs.Bodies[i].Seq), int64(blocks[i])); err != nil {
			return err
		}
	}
	for _, r := range rs.Replaced {
		if err := ins.replaced.Put(tx, int64(r.Seq), int64(r.Body)); err != nil {
			return err
		}
	}
	for _, in := range []*insert.Inserter{ins.bodies, ins.replaced} {
		if err := in.Flush(tx); err != nil {
			return err
		}
	}
	for _, seq := range rs.Purged {
		if _, err := tx.Exec("DELETE FROM bodies WHERE seq = ?", int64(seq)); err != nil {
			return err
		}
	}
	return nil
}

// writeBlocks finds or writes the block of each body.
func (s *Store) writeBlocks(tx *sql.Tx, rows []apply.BodyRow) (ids []uint64, err error) {
	if len(rows) == 0 {
		return nil, nil
	}
	b := &s.bodies
	before := b.block
	var fresh []*body.Digest // of the blocks after before
	var frames []byte
	ids = make([]uint64, len(rows))
	for i := range rows {
		d := &rows[i].Digest
		ids[i], err = b.sameBlock(tx, d, before, fresh)
		if err != nil {
			return nil, err
		}
		if ids[i] != 0 {
			continue
		}
		start := len(frames)
		frames = body.Encode(frames, rows[i].CBOR) // if it moves, queued frames keep the old memory
		b.block++
		ids[i] = b.block
		fresh = append(fresh, d)
		b.remember(d, b.block)
		if err := s.inserts.contents.Put(tx, int64(b.block), d[:], frames[start:]); err != nil {
			return nil, err
		}
	}
	return ids, s.inserts.contents.Flush(tx)
}

// sameBlock returns a recent block with this digest; 0: there is none. fresh are the digests of the blocks that this
// transaction has added after block before.
func (b *bodies) sameBlock(tx *sql.Tx, d *body.Digest, before uint64, fresh []*body.Digest) (uint64, error) {
	at, tag := b.slot(d)
	switch {
	case at.id == 0 || at.tag != tag:
		return 0, nil
	case at.id > before:
		if *fresh[at.id-before-1] == *d {
			return at.id, nil
		}
		return 0, nil
	}
	var raw []byte
	err := tx.Stmt(b.same).QueryRow(int64(at.id)).Scan(&raw)
	if errors.Is(err, sql.ErrNoRows) || err == nil && string(raw) != string(d[:]) {
		return 0, nil // it was deleted meanwhile
	}
	return at.id, err
}
