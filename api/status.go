package api

import (
	"context"
	"time"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
	"weft.dev/weft/db/keep"
)

func (s *server) status(ctx context.Context) (any, error) {
	st, err := s.Store.Stats(ctx)
	if err != nil {
		return nil, err
	}
	gaps, err := s.Store.Gaps(ctx)
	if err != nil {
		return nil, err
	}
	sp, err := s.Store.Space(ctx)
	if err != nil {
		return nil, err
	}
	a := wire.Status{
		Version: s.Version, Instance: s.InstanceID, Ready: true,
		Index: wire.StatusIndex{
			Links: st.Links, Records: st.Records, Actors: st.Actors, LogSeq: st.LastSeq, LogOldest: sp.LogOldest,
			Unsealed: sp.Unsealed, Segments: st.Segments, Runs: st.Runs, Jobs: st.Jobs, Sealing: st.Sealing,
			Compacting: st.Compacting, Failed: st.Failed, Paused: st.Paused, Retention: retentionOf(st.Retention),
		},
		Space: s.space(&st, &sp),
		Gaps:  []wire.StatusGap{}, OpenGaps: st.Gaps,
		Faults:  []wire.Fault{},
		History: wire.History{Every: recentEvery.Seconds(), Points: s.history.points()},
	}
	if err := s.Ready(); err != nil {
		a.Ready = false
		a.Reason = err.Error()
	}
	if s.Degraded != nil {
		a.Degraded = s.Degraded()
	}
	if s.Upstream != nil {
		a.Upstream = s.Upstream()
	}
	if s.Replication != nil {
		a.Replication = s.Replication()
	}
	if s.Following != nil {
		a.Following = s.Following()
	}
	if s.Faults != nil {
		a.Faults = append(a.Faults, s.Faults()...)
	}
	for _, g := range gaps {
		a.Gaps = append(a.Gaps, wire.StatusGap{
			ID: g.ID, Host: g.Host, From: g.From, To: g.To, Why: g.Why, State: g.State,
			Found: time.UnixMicro(g.FoundUS).UTC().Format(time.RFC3339), Tries: g.Tries, Note: g.Note,
		})
	}
	return a, nil
}

// retentionOf returns the rules of retention for an answer.
func retentionOf(list []keep.Status) []wire.StatusRule {
	return each(list, func(st keep.Status) wire.StatusRule {
		rule := wire.StatusRule{Links: st.Pattern, Keep: st.KeepText(), Earlier: st.Since}
		if st.HorizonUS > 0 {
			at := time.UnixMicro(st.HorizonUS).UTC().Truncate(time.Second)
			rule.Since = &at
		}
		return rule
	})
}

func (s *server) space(st *db.Stats, sp *db.Space) wire.StatusSpace {
	a := wire.StatusSpace{Database: sp.Database, WAL: sp.WAL, Segments: sp.Segments, Memory: st.Memory,
		Levels: []wire.StatusLevel{}}
	for level, l := range sp.Levels {
		a.Levels = append(a.Levels, wire.StatusLevel{Level: level, Files: l.Files, Links: l.Links, Bytes: l.Bytes})
	}
	if st.Links > 0 {
		v := tenth(float64(sp.Database+sp.WAL+sp.Segments) / float64(st.Links))
		a.PerLink = &v
	}
	if times, ok := sp.Written.Amplification(); ok {
		v := tenth(times)
		a.Written = &v
	}
	if sp.Total > 0 {
		a.Free = &sp.Free
		a.Total = &sp.Total
	}
	if sp.Budget > 0 {
		a.Budget = &sp.Budget
	}
	a.Reserve = sp.Reserve
	if sp.Measured == 0 {
		return a
	}
	a.Growth = &sp.PerDay
	a.Measured = int64(sp.Measured.Seconds())
	if !sp.FullAt.IsZero() {
		at := sp.FullAt.UTC().Truncate(time.Second)
		a.FullAt = &at
	}
	return a
}
