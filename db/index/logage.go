package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"time"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/link"
)

// LogAge returns a lower bound of the age of the log rows up to seq, to the minute: the time since their commit during
// which the index ran. It is 0 for the newest rows, and the maximum for seq 0.
func (s *Queries) LogAge(ctx context.Context, seq uint64) (time.Duration, error) {
	if seq == 0 {
		return math.MaxInt64, nil
	}
	var us int64
	err := s.core.Reader.QueryRowContext(ctx,
		`SELECT (SELECT clock_us FROM marks WHERE seq = (SELECT max(seq) FROM marks)) - clock_us
		FROM marks WHERE seq >= ? ORDER BY seq LIMIT 1`, int64(seq)).Scan(&us)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("db: age of log row %d: %w", seq, err)
	}
	return time.Duration(us) * time.Microsecond, nil
}

// LinkTimeUS is the time in their lists of the links that a row added, in microseconds since 1970. Links that were
// rewritten in another spelling keep an older one.
func (e *LogEntry) LinkTimeUS() int64 {
	if tid, ok := link.ParseTID(e.Rkey); ok {
		if us := link.TIDTimeUS(tid); us <= e.TimeUS+codec.MaxSkewUS {
			return us
		}
	}
	return e.TimeUS
}

// CountsSince counts, for each pair, the links of a time or later, in microseconds since 1970, from the runs' sums.
func (s *Queries) CountsSince(ctx context.Context, pairs []Pair, since int64) ([]int64, error) {
	v := s.core.Acquire()
	defer s.core.Release(v)
	counts := make([]int64, len(pairs))
	for i, p := range pairs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		l, ok, err := v.list(p.Target, p.Source)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		counts[i], err = l.within(since, 0).Total()
		if err != nil {
			return nil, err
		}
	}
	return counts, nil
}
