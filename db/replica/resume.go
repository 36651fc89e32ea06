package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"

	"weft.dev/weft/db/replica/dbfile"
	"weft.dev/weft/db/replica/restore"
)

// resume lets Litestream continue from the restored transaction. This needs the WAL that the restore left, and a
// replica that still ends at that transaction. It writes a transaction that changes no page and states where in the WAL
// the next one begins.
func (r *Replicator) resume(ctx context.Context, client litestream.ReplicaClient) error {
	path := restore.MarkPath(r.cfg.Replica.DB)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	var mark restore.RestoredMark
	if err := json.Unmarshal(text, &mark); err != nil {
		return os.Remove(path) // half written
	}
	pos, err := r.local.Pos()
	if err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	if !pos.IsZero() { // it has continued already
		return os.Remove(path)
	}
	start, err := dbfile.ReadWALStart(r.cfg.Replica.DB)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err != nil || start.Salt != mark.Salt { // another process has restarted the WAL
		return os.Remove(path)
	}
	newest, err := newestOf(ctx, client)
	if err != nil || newest != mark.TXID {
		return err
	}
	if err := writeStart(r.local.LTXPath(0, newest+1, newest+1), newest+1, start, r.cfg.Now().UnixMilli()); err != nil {
		return fmt.Errorf("replica: go on from the restore: %w", err)
	}
	r.cfg.Logger.Info("continuing the replica after the restore", "txid", uint64(newest))
	return os.Remove(path)
}

// newestOf returns the newest transaction of level 0; 0: none.
func newestOf(ctx context.Context, client litestream.ReplicaClient) (newest ltx.TXID, err error) {
	files, err := client.LTXFiles(ctx, 0, 0, false)
	if err != nil {
		return 0, err
	}
	defer func() { _ = files.Close() }()
	for files.Next() {
		newest = max(newest, files.Item().MaxTXID)
	}
	return newest, files.Err()
}

// writeStart writes the file of a transaction that leaves page 1 as it is, and ends where the WAL begins.
func writeStart(path string, txid ltx.TXID, start dbfile.WALStart, millis int64) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp := path + ".tmp"
	f, err := os.Create(tmp)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp) }()
	enc, err := ltx.NewEncoder(f)
	if err == nil {
		err = enc.EncodeHeader(ltx.Header{Version: ltx.Version, Flags: ltx.HeaderFlagNoChecksum,
			PageSize: uint32(len(start.First)), Commit: start.Pages,
			MinTXID: txid, MaxTXID: txid, Timestamp: millis, WALOffset: litestream.WALHeaderSize,
			WALSalt1: start.Salt[0], WALSalt2: start.Salt[1]})
	}
	if err == nil {
		err = enc.EncodePage(ltx.PageHeader{Pgno: 1}, slices.Clone(start.First))
	}
	if err == nil {
		err = enc.Close()
	}
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(tmp, path), restore.SyncDir(filepath.Dir(path)))
}
