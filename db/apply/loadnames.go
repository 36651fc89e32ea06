package apply

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/db/logrow"
)

// loadMeta reads the single facts and the upstreams' cursors into a snapshot.
func (s *State) loadMeta(ctx context.Context, q logrow.Queryer, v *index.Snapshot) error {
	v.Upstreams = map[string]index.Upstream{}
	var started []string
	if err := q.SelectContext(ctx, &started, "SELECT value FROM meta WHERE key = 'started_us'"); err != nil {
		return err
	}
	for _, text := range started {
		us, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("started_us: %w", err)
		}
		v.StartedUS = us
	}
	var hosts []struct {
		Host, Kind string
		Seq        uint64
		High       uint64 `db:"high_seq"`
		US         int64  `db:"time_us"`
		CursorUS   int64  `db:"cursor_us"`
		Instance   int64
		FollowedUS int64 `db:"followed_us"`
		ClockUS    int64 `db:"clock_us"`
		Epoch      int64
	}
	if err := q.SelectContext(ctx, &hosts,
		`SELECT host, kind, seq, high_seq, time_us, cursor_us, instance, followed_us, clock_us, epoch
		FROM upstream`); err != nil {
		return err
	}
	for _, h := range hosts {
		if h.Seq >= index.MinTimeCursor { // a time; one of the future would be the upstream's tip
			h.Seq = min(h.Seq, uint64(s.config.Now().UnixMicro()))
		}
		v.Upstreams[h.Host] = index.Upstream{Kind: h.Kind, Seq: h.Seq, US: h.CursorUS, High: h.High, Instance: h.Instance,
			Followed: index.Followed{UntilUS: h.FollowedUS, ClockUS: h.ClockUS},
			Epoch:    h.Epoch}
		v.MaxUS = max(v.MaxUS, h.US)
	}
	return nil
}

// LoadNames reads the names that no segment has into a snapshot.
func (s *State) LoadNames(ctx context.Context, q logrow.Queryer, v *index.Snapshot) error {
	return s.loadNamesTo(ctx, q, v, allNames)
}

// loadNamesTo reads the names that no segment has, up to some ids, into a snapshot.
func (s *State) loadNamesTo(ctx context.Context, q logrow.Queryer, v *index.Snapshot, upTo logrow.NameBounds) error {
	var newest index.ManifestRow
	if n := len(v.Files.Files); n > 0 {
		newest = v.Files.Files[n-1].ManifestRow
	}
	s.next['d'] = newest.Actors
	s.next['c'] = newest.Collections
	s.next['s'] = newest.Sources
	return s.loadNewNames(ctx, q, v, upTo)
}

// allNames is above every id.
var allNames = logrow.NameBounds{Actors: math.MaxInt64, Collections: math.MaxInt64, Sources: math.MaxInt64}

// loadNewNames reads the names after the newest known ones, up to some ids, into a snapshot.
func (s *State) loadNewNames(ctx context.Context, q logrow.Queryer, v *index.Snapshot, upTo logrow.NameBounds) error {
	for _, k := range []struct {
		kind  byte
		upTo  uint64
		query string
	}{
		{'d', upTo.Actors, "SELECT id, 0, did FROM actors WHERE id > ? AND id <= ?"},
		{'c', upTo.Collections, "SELECT id, 0, nsid FROM collections WHERE id > ? AND id <= ?"},
		{'s', upTo.Sources, "SELECT id, collection, path FROM sources WHERE id > ? AND id <= ?"},
	} {
		rows, err := q.QueryContext(ctx, k.query, int64(s.next[k.kind]), int64(k.upTo))
		if err != nil {
			return err
		}
		names := map[string]uint64{}
		push := func() (err error) {
			v.Names, err = v.Names.Push(nameRun(names))
			clear(names)
			return err
		}
		for rows.Next() {
			var id, collection uint64
			var name string
			if err := rows.Scan(logrow.Unsigned(&id), logrow.Unsigned(&collection), &name); err != nil {
				_ = rows.Close()
				return fmt.Errorf("name %c %d: %w", k.kind, id, err)
			}
			key := []byte{k.kind}
			if k.kind == 's' {
				key = codec.AppendID(key, collection)
			}
			names[string(append(key, name...))] = id
			v.Sums.Names += logrow.NameSum(k.kind, id, collection, name)
			s.next[k.kind] = max(s.next[k.kind], id)
			if len(names) == rowsPerRun {
				if err := push(); err != nil {
					_ = rows.Close()
					return err
				}
			}
		}
		if err := errors.Join(rows.Err(), rows.Close(), push()); err != nil {
			return err
		}
	}
	v.Actors = s.next['d']
	return nil
}
