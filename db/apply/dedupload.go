package apply

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
)

// loadDedupWindow makes the window ready for questions. The first time after a start it reads the log, which has the
// events that changed something.
func (f *Applier) loadDedupWindow() {
	w := &f.history.dedup
	upTo := w.loadTo
	w.loadTo = 0
	if upTo != 0 && w.old.n == 0 { // else newer events fill it
		if err := f.readDedupWindow(upTo); err != nil {
			f.d.fail(fmt.Errorf("read the newest events from the log: %w", err))
		}
	}
	w.young.index()
	w.old.index()
}

// readDedupWindow fills the old generation from the log up to a row.
func (f *Applier) readDedupWindow(upTo uint64) error {
	w := &f.history.dedup
	l := dedupLoad{w: w, names: logNames{beside: f.history.beside, nsids: map[uint64]string{}}}
	after := upTo - min(upTo, uint64(w.max)+dedupLogRows)
	for ; after < upTo; after += dedupLogRows {
		if err := l.read(after, min(after+dedupLogRows, upTo)); err != nil {
			return err
		}
	}
	switch l.first {
	case 0: // the log has no rows
	case 1: // the log is complete
		w.sinceUS = 0
	default: // the pruned rows were committed by the oldest mark: the first rows may be those of a filled gap
		pruned, err := f.prunedUS()
		if err != nil {
			return err
		}
		w.sinceUS = max(l.sinceUS, pruned)
	}
	return nil
}

// dedupLoad reads the log into the old generation of a window.
type dedupLoad struct {
	w                 *dedupWindow
	names             logNames
	first             uint64 // the first row read; 0: none
	sinceUS, newestUS int64
}

// read adds the log rows after a row, up to another: some thousand.
func (l *dedupLoad) read(after, to uint64) error {
	var rows []logrow.Row
	err := logrow.Scan(context.Background(), l.names.beside, after, to, func(part logrow.Rows) error {
		for i := range part.Log {
			switch part.Log[i].Op {
			case logrow.OpCreate, logrow.OpUpdate, logrow.OpDelete, logrow.OpAccount, logrow.OpSeen:
				rows = append(rows, part.Log[i])
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	dids, err := l.names.dids(rows)
	if err != nil {
		return err
	}
	for i := range rows {
		if err := l.add(&rows[i], dids); err != nil {
			return err
		}
	}
	return nil
}

func (l *dedupLoad) add(r *logrow.Row, dids map[uint64]string) error {
	if l.first == 0 {
		l.first = r.Seq
	}
	l.newestUS = max(l.newestUS, r.TimeUS)
	if r.Op == logrow.OpAccount {
		if logrow.Status(r.Status>>4&7) == logrow.StatusDeleted || logrow.Status(r.Status&15) == logrow.StatusDeleted {
			l.w.old.noteDeleted(r.Actor, deletion{us: l.newestUS})
		}
		return nil
	}
	if r.Rkey == nil {
		return nil
	}
	if r.Seq < l.first+dedupLogRows {
		l.sinceUS = max(l.sinceUS, eventTime(r.Rev, r.TimeUS))
	}
	nsid, err := l.names.nsid(r.Collection)
	if err != nil {
		return err
	}
	l.w.old.add(l.w.record(dids[r.Actor], nsid, codec.RkeyString(r.Rkey)), r.Rev, r.TimeUS)
	return nil
}

// logNames reads the names of log rows.
type logNames struct {
	beside *sql.DB
	nsids  map[uint64]string // those read
}

// dids returns the DIDs of rows by account.
func (n *logNames) dids(rows []logrow.Row) (map[uint64]string, error) {
	found := map[uint64]string{}
	for i := range rows {
		found[rows[i].Actor] = ""
	}
	ids := []byte{'['}
	for _, actor := range slices.Sorted(maps.Keys(found)) { // so that each page is read once
		ids = append(strconv.AppendUint(ids, actor, 10), ',')
	}
	ids = append(bytes.TrimSuffix(ids, []byte{','}), ']')
	accounts, err := n.beside.Query("SELECT actors.id, did FROM json_each(?) CROSS JOIN actors ON actors.id = value",
		string(ids))
	if err != nil {
		return nil, err
	}
	defer func() { _ = accounts.Close() }()
	for accounts.Next() {
		var id uint64
		var did string
		if err := accounts.Scan(logrow.Unsigned(&id), &did); err != nil {
			return nil, err
		}
		found[id] = did
	}
	return found, accounts.Err()
}

// nsid returns the NSID of a collection; empty: it has no row.
func (n *logNames) nsid(collection uint64) (nsid string, err error) {
	nsid, ok := n.nsids[collection]
	if ok {
		return nsid, nil
	}
	err = n.beside.QueryRow("SELECT ifnull((SELECT nsid FROM collections WHERE id = ?), '')",
		int64(collection)).Scan(&nsid)
	n.nsids[collection] = nsid
	return nsid, err
}

// prunedUS returns a time of the log's clock at which all pruned rows had been committed; 0: none is known.
func (f *Applier) prunedUS() (us int64, err error) {
	err = f.history.beside.QueryRow(`SELECT ifnull((SELECT clock_us FROM marks
		WHERE seq >= (SELECT first FROM log WHERE last = (SELECT min(last) FROM log)) - 1
		ORDER BY seq LIMIT 1), 0)`).Scan(&us)
	return us, err
}
