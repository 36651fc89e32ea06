package ingest

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

// From is where a new index begins. The zero From is the upstream's tip.
type From struct {
	Start bool   // the start of the archive
	Seq   uint64 // a sequence number; 0: none
	US    int64  // a time, in microseconds since 1970; 0: none
}

// ParseFrom parses "now", "start", a sequence number, or a time: RFC 3339, or from 10^15 on microseconds since 1970.
func ParseFrom(s string) (From, error) {
	switch s {
	case "", "now":
		return From{}, nil
	case "start":
		return From{Start: true}, nil
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err == nil {
		switch {
		case n == 0:
			return From{}, fmt.Errorf("sequence numbers begin at 1: use start")
		case n >= db.MinTimeCursor:
			return From{US: int64(n)}, nil
		}
		return From{Seq: n}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil && t.Unix() > 0 {
			return From{US: t.UnixMicro()}, nil
		}
	}
	return From{}, fmt.Errorf("%q is not now, start, a sequence number or a time such as 2026-07-01T00:00:00Z", s)
}

// resolve returns the sequence number after which the archive is read. live means that the index begins at the tip
// instead.
func (f From) resolve(ctx context.Context, a *upstream.Archive) (after uint64, live bool, err error) {
	switch {
	case f.Start:
		return 0, false, nil
	case f.Seq > 0:
		return f.Seq - 1, false, nil
	case f.US > 0:
		after, err = a.SeqBefore(ctx, f.US)
		return after, false, err
	}
	return 0, true, nil
}
