package apply

import (
	"database/sql"

	"weft.dev/weft/db/index"
)

// History answers from committed rows and from memory what the log rows of an event don't say. Only new events ask.
type History struct {
	dedup  dedupWindow
	ids    idCache
	beside *sql.DB // reads committed rows beside the writer's open transaction
}

// NewHistory returns the history before the first event after a start. dedupEvents bounds the events of a generation of
// the dedup window; 0: 524,288. v is the snapshot after the replay.
func NewHistory(committed *sql.DB, dedupEvents int, v *index.Snapshot) *History {
	return &History{beside: committed, dedup: newDedupWindow(dedupEvents, v.Seq, v.MaxUS)}
}
