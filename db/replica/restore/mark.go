package restore

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"

	"weft.dev/weft/db"
)

// Litestream, left to itself, sends the whole database again after a restore, into each of its levels: it can't know that what
// is here is what the replica has. A restore of the newest moment therefore leaves a WAL that has just begun, and writes down
// which transaction lies below it. While the WAL is still that one, whoever replicates to the same place goes on from there:
// what was written since is in the WAL.

// RestoredMark is what a restore writes down, beside what Litestream keeps of the database.
type RestoredMark struct {
	TXID ltx.TXID  `json:"txid"`
	Salt [2]uint32 `json:"salt"` // of the WAL
}

func MarkPath(dbPath string) string {
	return filepath.Join(litestream.NewDB(dbPath).MetaPath(), "restored")
}

// beginWAL leaves a WAL and the mark beside a database that was restored.
func beginWAL(dbPath string, txid ltx.TXID) error {
	start, err := db.BeginWAL(dbPath)
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
