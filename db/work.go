package db

import "sync/atomic"

// Work says what sealing and merging have done since the store was opened, and whether they are at it.
type Work struct {
	Seals, Merges            int64 // segments made
	SealedBytes, MergedBytes int64 // their files' sizes
	Sealing, Merging         bool
}

// Work is for metrics and benchmarks.
func (s *Store) Work() Work {
	return Work{
		Seals: s.seals.files.Load(), SealedBytes: s.seals.bytes.Load(), Sealing: s.seals.busy.Load(),
		Merges: s.compactions.files.Load(), MergedBytes: s.compactions.bytes.Load(), Merging: s.compactions.busy.Load(),
	}
}

// worked counts what one worker has made.
type worked struct {
	files, bytes atomic.Int64
	busy         atomic.Bool
}

func (w *worked) made(f *file) {
	w.files.Add(1)
	w.bytes.Add(f.Bytes)
}
