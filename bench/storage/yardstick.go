package main

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"weft.dev/weft/bench/storage/plain"
)

// yardstick is what the plain schema came to on the first of the same events.
type yardstick struct {
	Events  int64         `json:"events"`
	Links   int64         `json:"links_added"`
	Took    time.Duration `json:"took_ns"`
	WAL     int64         `json:"wal_bytes"`
	Bytes   int64         `json:"bytes"`
	PeakRSS int64         `json:"peak_rss"`
}

func plainChild(_ context.Context, o options) (any, error) {
	dir := filepath.Join(o.Dir, "plain")
	s, err := plain.Open(dir)
	if err != nil {
		return nil, err
	}
	r, err := openEvents(filepath.Join(o.Dir, eventsFile))
	if err != nil {
		return nil, err
	}
	defer r.close()
	var y yardstick
	for y.Links < min(o.Links, o.Plain) {
		events, err := r.next()
		if err != nil {
			return nil, err
		}
		start := time.Now()
		added, err := s.Apply(events)
		if err != nil {
			return nil, err
		}
		y.Took += time.Since(start)
		y.Events, y.Links = y.Events+int64(len(events)), y.Links+int64(added)
	}
	y.WAL, y.PeakRSS = s.WALBytes(), peakRSS()
	if err := s.Close(); err != nil { // moves the WAL into the database
		return nil, err
	}
	info, err := os.Stat(filepath.Join(dir, "plain.db"))
	if err != nil {
		return nil, err
	}
	y.Bytes = info.Size()
	return y, nil
}
