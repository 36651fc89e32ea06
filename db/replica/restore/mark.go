package restore

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"

	"weft.dev/weft/db/replica/dbfile"
)

// After a restore, Litestream alone would upload the whole database again into each of its levels, because it cannot
// know that the local database is the replica's. A restore of the newest state therefore leaves a WAL that has just
// begun, and records the transaction below it. While the WAL has not been restarted, a replicator to the same place
// continues from that transaction: the later writes are in the WAL.

// RestoredMark is the record that a restore writes beside Litestream's state of the database.
type RestoredMark struct {
	TXID ltx.TXID  `json:"txid"`
	Salt [2]uint32 `json:"salt"` // of the WAL
}

func MarkPath(dbPath string) string {
	return filepath.Join(litestream.NewDB(dbPath).MetaPath(), "restored")
}

// beginWAL leaves a WAL and the mark beside a database that was restored.
func beginWAL(dbPath string, txid ltx.TXID) error {
	start, err := dbfile.BeginWAL(dbPath)
	if err != nil {
		return err
	}
	text, err := json.Marshal(RestoredMark{txid, start.Salt})
	if err != nil {
		return err
	}
	path := MarkPath(dbPath)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(path, text, 0o644), SyncDir(filepath.Dir(path)))
}
