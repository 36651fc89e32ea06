package inspect

import (
	"context"
	"fmt"

	"weft.dev/weft/db"
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/link"
)

// LogRow is a row of the log with its names.
type LogRow struct {
	Seq        uint64 `json:"seq"`
	TimeUS     int64  `json:"time_us"` // at the upstream, microseconds since 1970
	Op         string `json:"op"`
	DID        string `json:"did"`
	Collection string `json:"collection,omitempty"`
	Rkey       string `json:"rkey,omitempty"`
	Rev        string `json:"rev,omitempty"`
	Was        string `json:"was,omitempty"`          // the account's status before
	Status     string `json:"status,omitempty"`       // and since
	OutOfOrder bool   `json:"out_of_order,omitempty"` // the account had newer revisions already
	Removed    []Link `json:"removed,omitempty"`
	Added      []Link `json:"added,omitempty"`
}

// Link is a link of a log row.
type Link struct {
	Path   string `json:"path"`
	Target string `json:"target"`
}

// opNames are the names of ops (docs/storage.md, log), indexed by op.
var opNames = [...]string{logrow.OpCreate: "create", logrow.OpUpdate: "update", logrow.OpDelete: "delete",
	logrow.OpAccount: "account", logrow.OpSync: "sync", logrow.OpSeen: "seen", logrow.OpSynced: "synced",
	logrow.OpJob: "job", logrow.OpBegun: "begun", logrow.OpRewritten: "rewritten", logrow.OpTurn: "turn"}

// ReadLog passes on the rows of the log of a data directory from one on, at most limit of them; from 0: the newest
// ones. It reads weft.db alone, also beside the weft that writes it, and changes nothing in it.
func ReadLog(ctx context.Context, dir string, from, limit uint64, do func(*LogRow) error) error {
	r, err := db.OpenReadOnly(dir, false)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	err = inspector{r, dir}.log(ctx, from, limit, do)
	if err != nil {
		return fmt.Errorf("db: read the log of %s: %w", dir, err)
	}
	return nil
}

func (r inspector) log(ctx context.Context, from, limit uint64, do func(*LogRow) error) error {
	oldest, newest, err := logrow.Range(ctx, r.Reader())
	if err != nil || newest == 0 {
		return err
	}
	if from == 0 {
		from = newest + 1 - min(limit, newest)
	}
	from = max(from, oldest)
	for from <= newest && limit > 0 {
		rows, err := logrow.BlockAt(ctx, r.Reader(), from)
		if err != nil {
			return err
		}
		found := rows.Between(from-1, newest).Logged()
		if len(found) == 0 {
			oldest, _, err := logrow.Range(ctx, r.Reader())
			if err != nil {
				return err
			}
			if oldest <= from {
				return fmt.Errorf("log row %d is missing: weft check says more", from)
			}
			from = oldest // rows were pruned meanwhile
			continue
		}
		for i := range found[:min(uint64(len(found)), limit)] {
			row, err := r.logRow(ctx, &found[i])
			if err != nil {
				return err
			}
			if err := do(row); err != nil {
				return err
			}
			limit--
		}
		from = found[len(found)-1].Seq + 1
	}
	return nil
}

func (r inspector) logRow(ctx context.Context, l *logrow.Logged) (*LogRow, error) {
	row := &LogRow{Seq: l.Seq, TimeUS: l.TimeUS, Op: fmt.Sprint("op ", l.Op)}
	if int(l.Op) < len(opNames) && opNames[l.Op] != "" {
		row.Op = opNames[l.Op]
	}
	dids, err := r.Core().AccountDIDs(ctx, []uint64{l.Actor})
	if err != nil {
		return nil, err
	}
	row.DID = dids[0]
	if l.Collection != 0 {
		row.Collection, err = r.Core().NSID(ctx, l.Collection)
		if err != nil {
			return nil, err
		}
	}
	if l.Rkey != nil {
		row.Rkey = codec.RkeyString(l.Rkey)
	}
	if l.Rev != 0 {
		row.Rev = string(link.AppendTID(nil, l.Rev))
	}
	if l.Op == logrow.OpAccount {
		row.Was = logrow.Status(l.Status >> 4 & 7).String()
		row.Status = logrow.Status(l.Status & 15).String()
	} else {
		row.OutOfOrder = l.Status == logrow.StatusOutOfOrder
	}
	row.Removed, err = r.links(ctx, l.Removed)
	if err != nil {
		return nil, err
	}
	row.Added, err = r.links(ctx, l.Added)
	return row, err
}

func (r inspector) links(ctx context.Context, links []codec.RecordLink) (named []Link, err error) {
	targets := make([][]byte, 0, len(links))
	for _, l := range links {
		targets = append(targets, l.Target)
	}
	names, err := r.Core().TargetStrings(ctx, targets)
	if err != nil {
		return nil, err
	}
	for i, l := range links {
		source, err := r.Core().Source(ctx, l.Source)
		if err != nil {
			return nil, err
		}
		named = append(named, Link{Path: source.Path, Target: names[i]})
	}
	return named, nil
}
