package db

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/body"
	"weft.dev/weft/db/logrow"
)

// Bodies states which bodies of records are kept.
type Bodies uint8

const (
	BodiesOff    Bodies = iota // none
	BodiesWindow               // as long as the log row that brought it
	// the current body of every record with links; earlier bodies as long as the log row that replaced them
	BodiesKeep
)

var bodiesNames = [...]string{BodiesOff: "off", BodiesWindow: "window", BodiesKeep: "keep"}

func (b Bodies) String() string { return bodiesNames[b] }

// ParseBodies parses off, window or keep.
func ParseBodies(text string) (Bodies, error) {
	for b, name := range bodiesNames {
		if name == text {
			return Bodies(b), nil
		}
	}
	return BodiesOff, fmt.Errorf("%q is none of off, window and keep", text)
}

// bodies is the writer's state of the stored bodies.
type bodies struct {
	gone   uint64 // log rows up to this one have no body left
	block  uint64 // the newest
	recent []recentBlock
	find   *sql.Stmt // the digest of a log row's body
	same   *sql.Stmt // the digest of a block
}

// recentBlock is a block that another record may share.
type recentBlock struct{ tag, id uint64 }

// recentBlocks is the number of newest blocks that new bodies are compared with: about two minutes of the network, in 1
// MiB of memory. A start reads them from about 10 MB of blocks. Older blocks are not compared, because nearly all
// records contain a time that makes them unique.
const recentBlocks = 1 << 16

// slot returns the slot of a digest among the recent blocks, and its tag there.
func (b *bodies) slot(d *body.Digest) (*recentBlock, uint64) {
	return &b.recent[binary.LittleEndian.Uint16(d[:])], binary.LittleEndian.Uint64(d[2:])
}

// remember adds a block to the recent ones.
func (b *bodies) remember(d *body.Digest, id uint64) {
	at, tag := b.slot(d)
	*at = recentBlock{tag, id}
}

// metaBodies and metaSince are the facts from which the valid bodies follow: how bodies were kept last, and the log row
// up to which they are out of date.
const (
	metaBodies = "bodies"
	metaSince  = "bodies_since"
)

// bodiesKept reads how bodies were stored last, and the log row up to which they are out of date.
func bodiesKept(ctx context.Context, q logrow.Queryer) (was Bodies, since uint64, err error) {
	var facts []struct{ Key, Value string }
	if err := q.SelectContext(ctx, &facts, "SELECT key, value FROM meta WHERE key IN (?, ?)", metaBodies,
		metaSince); err != nil {
		return 0, 0, err
	}
	for _, fact := range facts {
		if fact.Key == metaBodies {
			was, err = ParseBodies(fact.Value)
		} else {
			since, err = strconv.ParseUint(fact.Value, 10, 63)
		}
		if err != nil {
			return 0, 0, fmt.Errorf("%s: %w", fact.Key, err)
		}
	}
	return was, since, nil
}

// loadBodies reads which bodies are valid, and starts or stops storing them.
func (s *Store) loadBodies(ctx context.Context) error {
	mode := s.cfg.Bodies
	newest := s.core.Snapshot().Seq
	was, since, err := bodiesKept(ctx, s.core.Reader)
	if err != nil {
		return err
	}
	b := &s.bodies
	kept := apply.Bodies{On: mode != BodiesOff, Since: since, Digest: b.digest}
	switch {
	case was == BodiesOff || mode == BodiesOff:
		kept.Since = newest // changes are not tracked while no bodies are kept
	case was == BodiesWindow && mode == BodiesKeep:
		kept.Since = max(since, s.log.pruned) // some bodies up to this row are deleted
	}
	v := *s.core.Snapshot()
	v.BodiesSince = kept.Since
	s.core.SetSnapshot(&v)
	if was != mode || kept.On && since != kept.Since {
		if err := s.writeBodiesKept(mode, kept.Since); err != nil {
			return err
		}
	}
	var oldest sql.NullInt64
	var replaced bool
	if err := s.core.Reader.QueryRowContext(ctx, `SELECT (SELECT min(seq) FROM bodies), EXISTS (SELECT 1 FROM replaced),
		ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'blocks'), 0)`).Scan(&oldest, &replaced, &b.block); err != nil {
		return err
	}
	b.gone = math.MaxUint64
	if oldest.Valid {
		b.gone = uint64(oldest.Int64) - 1
	} else if kept.On {
		b.gone = newest
	}
	kept.Some = kept.On || oldest.Valid || replaced
	s.state.Bodies = kept
	if !kept.On {
		return nil
	}
	b.find, err = s.beside.PrepareContext(ctx,
		"SELECT digest FROM bodies JOIN blocks ON blocks.id = block WHERE seq = ?")
	if err != nil {
		return err
	}
	b.same, err = s.writer.PrepareContext(ctx, "SELECT digest FROM blocks WHERE id = ?")
	if err != nil {
		return err
	}
	return b.loadRecent(ctx, s.core.Reader)
}

// loadRecent reads the digests of the newest blocks.
func (b *bodies) loadRecent(ctx context.Context, q logrow.Queryer) error {
	b.recent = make([]recentBlock, recentBlocks)
	rows, err := q.QueryContext(ctx, "SELECT id, digest FROM blocks WHERE id > ? ORDER BY id",
		int64(b.block)-recentBlocks)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id uint64
		var digest []byte
		if err := rows.Scan(&id, &digest); err != nil {
			return err
		}
		if len(digest) == len(body.Digest{}) {
			b.remember((*body.Digest)(digest), id)
		}
	}
	return rows.Err()
}

// writeBodiesKept records how bodies are stored from now on.
func (s *Store) writeBodiesKept(mode Bodies, since uint64) error {
	tx, err := s.writer.Begin()
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	for key, value := range map[string]string{metaBodies: mode.String(), metaSince: strconv.FormatUint(since, 10)} {
		_, err := tx.Exec(
			"INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", key, value)
		if err != nil {
			return err
		}
	}
	return tx.Commit()
}

// digest reads the digest of a log row's body; ok is false when the body is gone. It reads committed rows.
func (b *bodies) digest(seq uint64) (d body.Digest, ok bool, err error) {
	var raw []byte
	err = b.find.QueryRow(int64(seq)).Scan(&raw)
	if errors.Is(err, sql.ErrNoRows) {
		return d, false, nil
	}
	if err == nil && len(raw) != len(d) {
		err = fmt.Errorf("a digest of %d bytes", len(raw))
	}
	if err != nil {
		return d, false, fmt.Errorf("the body of log row %d: %w", seq, err)
	}
	return body.Digest(raw), true, nil
}
