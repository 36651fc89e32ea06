package restore

import (
	"context"
	"fmt"
	"time"

	"github.com/superfly/ltx"

	"weft.dev/weft/db"
	"weft.dev/weft/db/replica/config"
)

// Level describes a replica's files of one level.
type Level struct {
	Level int       `json:"level"` // 0: as uploaded, 1 to 8: compacted, 9: snapshots
	Files int       `json:"files"`
	Bytes int64     `json:"bytes"`
	Min   ltx.TXID  `json:"min_txid"` // the first transaction of the oldest file
	Max   ltx.TXID  `json:"max_txid"` // the last one of the newest
	From  time.Time `json:"from"`     // the last transaction of the oldest file
	To    time.Time `json:"to"`
}

// Listing describes the contents of a replica.
type Listing struct {
	Levels    []Level      `json:"levels"`     // those with files, the snapshots last
	Snapshots []File       `json:"snapshots"`  // oldest first
	Spans     []Span       `json:"restorable"` // oldest first
	Breaks    []LevelBreak `json:"gaps"`       // between files of one level; harmless if another level bridges them

	// As of the newest transaction of the newest span; absent if nothing can be restored.
	Manifest      *db.Manifest    `json:"newest,omitempty"`
	DatabaseBytes int64           `json:"database_bytes,omitempty"`
	Segments      []StoredSegment `json:"segments,omitempty"`
}

// LevelBreak is a span of transactions that a level lacks between two of its files.
type LevelBreak struct {
	Level int      `json:"level"`
	From  ltx.TXID `json:"from_txid"` // both inclusive
	To    ltx.TXID `json:"to_txid"`
}

// List lists the contents of a replica. ErrEmpty: it has no files.
func List(ctx context.Context, src config.Source) (*Listing, error) {
	clients := config.PoolOf(src)
	client, err := clients.Client("")
	if err != nil {
		return nil, fmt.Errorf("replica: list: %w", err)
	}
	defer clients.Release(client)
	files, err := listExact(ctx, client)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("replica: list: %w", ErrEmpty)
	}
	l := &Listing{Spans: Spans(files), Breaks: breaksOf(files)}
	for _, f := range files {
		if n := len(l.Levels); n == 0 || l.Levels[n-1].Level != f.Level {
			l.Levels = append(l.Levels, Level{Level: f.Level, Min: f.Min, From: f.Time})
		}
		level := &l.Levels[len(l.Levels)-1]
		level.Files++
		level.Bytes += f.Bytes
		level.Max = f.Max
		level.To = f.Time
		if f.Level == SnapshotLevel {
			l.Snapshots = append(l.Snapshots, f)
		}
	}
	if len(l.Spans) == 0 {
		return l, nil
	}
	picked, err := Chain(files, Target{TXID: l.Spans[len(l.Spans)-1].To})
	if err != nil {
		return nil, fmt.Errorf("replica: list: %w", err)
	}
	l.Manifest, l.DatabaseBytes, err = ReadRemoteManifest(ctx, client, picked)
	if err != nil {
		return nil, fmt.Errorf("replica: list: %w", err)
	}
	l.Segments, err = storedSegments(ctx, clients, l.Manifest)
	return l, err
}

// breaksOf finds the missing transactions between the files of a level. Retention removes only the oldest files of a
// level.
func breaksOf(files []File) []LevelBreak {
	var found []LevelBreak
	for i, f := range files {
		if i == 0 || files[i-1].Level != f.Level || f.Level == SnapshotLevel {
			continue
		}
		if before := files[i-1]; f.Min > before.Max+1 {
			found = append(found, LevelBreak{f.Level, before.Max + 1, f.Min - 1})
		}
	}
	return found
}
