package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"

	"weft.dev/weft/db"
)

// restorableTXIDs returns the transactions up to which the files of a replica can be applied, oldest first.
func restorableTXIDs(files []File) []ltx.TXID {
	var ends []ltx.TXID
	for _, f := range files {
		if !slices.Contains(ends, f.Max) {
			if picked, err := Chain(files, Target{TXID: f.Max}); err == nil && len(picked) > 0 {
				ends = append(ends, f.Max)
			}
		}
	}
	slices.SortFunc(ends, func(a, b ltx.TXID) int { return cmp.Compare(a, b) })
	return ends
}

// newestIntact finds the newest restore point before a target whose database passes the checks. It restores some of
// them to a scratch file: first points that are each twice as far back as the one before, then points between two of
// them. The search assumes that all restore points after the damage have it, as after writes of two processes; the
// result itself is always checked. 0: none of the tried points is intact.
func newestIntact(ctx context.Context, client litestream.ReplicaClient, scratch string, t Target) (ltx.TXID, error) {
	files, err := listExact(ctx, client)
	if err != nil {
		return 0, err
	}
	ends := restorableTXIDs(slices.DeleteFunc(files, func(f File) bool { return !t.allows(f) }))
	bad := len(ends) - 1 // the newest, which has failed
	good := -1
	for back := 1; bad-back >= 0 && good < 0; back *= 2 {
		at := len(ends) - 1 - back
		if at < 0 {
			break
		}
		whole, err := isIntact(ctx, client, scratch, ends[at])
		if err != nil {
			return 0, err
		}
		if whole {
			good = at
		} else {
			bad = at
		}
	}
	if good < 0 && bad > 0 { // the oldest is left
		whole, err := isIntact(ctx, client, scratch, ends[0])
		if err != nil || !whole {
			return 0, err
		}
		good = 0
	}
	for good >= 0 && bad-good > 1 {
		mid := (good + bad) / 2
		whole, err := isIntact(ctx, client, scratch, ends[mid])
		if err != nil {
			return 0, err
		}
		if whole {
			good = mid
		} else {
			bad = mid
		}
	}
	if good < 0 {
		return 0, nil
	}
	return ends[good], nil
}

// isIntact restores the database as of a transaction to a scratch file, and checks it.
func isIntact(
	ctx context.Context, client litestream.ReplicaClient, scratch string, at ltx.TXID,
) (whole bool, err error) {
	f, err := os.OpenFile(scratch, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o644)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(scratch)) }()
	_, err = assemble(ctx, client, Target{TXID: at}, f, func([]File) error { return nil }, func(int64) {})
	if err == nil {
		_, err = db.ManifestOf(ctx, scratch)
	}
	if err == nil {
		err = inspect(ctx, scratch)
	}
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	return err == nil, nil
}

// withNewestIntact adds the newest intact restore point to the error of a damaged database.
func (r *restore) withNewestIntact(ctx context.Context, scratch string, err error) error {
	client, e := r.clients.Client("")
	if e != nil {
		return err
	}
	defer r.clients.Release(client)
	r.report("searching for the newest intact state", 0, 0)
	at, e := newestIntact(ctx, client, scratch, r.o.Target)
	switch {
	case e != nil:
		return fmt.Errorf("%w; cannot find an earlier intact state: %w", err, e)
	case at == 0:
		return fmt.Errorf("%w; the replica has no earlier intact state", err)
	}
	return fmt.Errorf("%w; the newest intact state is transaction %s: --txid %s restores it", err, at, at)
}
