package export

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"

	"weft.dev/weft/db"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
)

// heldBytes is how much of frames an export holds at once: those of all records of a window in nearly all cases,
// and of 32 records where each is as large as can be. The newest may go beyond it.
const heldBytes = 32 << 20

// heldBodies are the frames of some records of a window that follow one another. Its memory is used again.
type heldBodies struct {
	read  logrow.Queryer // weft.db, pinned: the pruning beside an export deletes bodies
	since uint64         // bodies of log rows up to here are out of date

	most        int // how many records are tried at once
	first, next int // which records of the window are held
	held        []heldBody
	frames      []byte
	want        []wantedBody
}

// wantedBody is the log row that brought a record's body.
type wantedBody struct {
	seq uint64
	at  int // of the record among those that are taken
}

// heldBody is a frame; the zero heldBody: there is none.
type heldBody struct {
	digest     []byte
	start, end int
}

// openBodies prepares for bodies.
func (e *Export) openBodies(ctx context.Context) (err error) {
	b := &heldBodies{most: windowLinks}
	_, b.since, err = e.s.StoredBodies(ctx)
	if err != nil {
		return err
	}
	err = e.s.Reader().GetContext(ctx, &e.BodiesFrom, "SELECT ifnull(min(seq), ?) FROM bodies WHERE seq > ?",
		int64(e.LogSeq)+1, int64(b.since))
	if err != nil {
		return fmt.Errorf("read the bodies: %w", err)
	}
	b.read = e.s.Reader()
	e.bodies = b
	return nil
}

// body is the content of a record that was found; the zero Body where it isn't kept. Records are asked for in order.
func (w *window) body(ctx context.Context, found int) (db.Body, error) {
	b := w.e.bodies
	if b == nil || w.found[found].body <= b.since {
		return db.Body{}, nil
	}
	if found >= b.next {
		if err := b.fill(ctx, w.found, found); err != nil {
			return db.Body{}, fmt.Errorf("read bodies: %w", err)
		}
	}
	h := b.held[found-b.first]
	if h.digest == nil {
		return db.Body{}, nil
	}
	body, err := index.OpenBody(h.digest, b.frames[h.start:h.end])
	if err != nil {
		err = fmt.Errorf("the body of log row %d: %w; run weft check --all", w.found[found].body, err)
	}
	return body, err
}

// fill reads the frames of records from first on: of half as many as it tried while these are too large, and of twice
// as many the next time.
func (b *heldBodies) fill(ctx context.Context, found []foundRecord, first int) error {
	for {
		n := min(b.most, len(found)-first)
		fits, err := b.take(ctx, found[first:first+n])
		if err != nil {
			return err
		}
		if fits || n == 1 {
			b.first = first
			b.next = first + n
			b.most = min(2*b.most, windowLinks)
			return nil
		}
		b.most = n / 2
	}
}

// take reads the frames of some records, unless they are too large together.
func (b *heldBodies) take(ctx context.Context, found []foundRecord) (fits bool, err error) {
	b.want, b.frames, b.held = b.want[:0], b.frames[:0], slices.Grow(b.held[:0], len(found))[:len(found)]
	clear(b.held)
	for i := range found {
		if seq := found[i].body; seq > b.since {
			b.want = append(b.want, wantedBody{seq, i})
		}
	}
	if len(b.want) == 0 {
		return true, nil
	}
	slices.SortFunc(b.want, func(x, y wantedBody) int { return cmp.Compare(x.seq, y.seq) })
	seqs := []byte{'['}
	for _, w := range b.want {
		seqs = append(strconv.AppendUint(seqs, w.seq, 10), ',')
	}
	seqs[len(seqs)-1] = ']'
	rows, err := b.read.QueryContext(ctx, `SELECT seq, digest, body FROM json_each(?)
		CROSS JOIN bodies ON seq = value CROSS JOIN blocks ON blocks.id = block`, string(seqs))
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		var seq uint64
		var digest []byte
		var frame sql.RawBytes
		if err := rows.Scan(&seq, &digest, &frame); err != nil {
			return false, err
		}
		if len(b.frames)+len(frame) > heldBytes && len(found) > 1 {
			return false, nil
		}
		at, ok := slices.BinarySearchFunc(b.want, seq,
			func(w wantedBody, seq uint64) int { return cmp.Compare(w.seq, seq) })
		if !ok {
			continue
		}
		start := len(b.frames)
		b.frames = append(b.frames, frame...)
		b.held[b.want[at].at] = heldBody{digest, start, len(b.frames)}
	}
	return true, rows.Err()
}
