package api

import (
	"context"
	"time"

	"weft.dev/weft/db"
)

// statusAnswer is what /status says: for the one who runs this service, and for those who want to know what its answers
// are worth.
type statusAnswer struct {
	Version     string        `json:"version"`
	Instance    string        `json:"instance"`
	Ready       bool          `json:"ready"`
	Reason      string        `json:"reason,omitempty"`   // why not ready
	Degraded    string        `json:"degraded,omitempty"` // what is wrong, though it is ready
	Index       statusIndex   `json:"index"`
	Space       statusSpace   `json:"space"`
	Upstream    any           `json:"upstream"`            // what Config.Upstream says; null: nothing
	Replication any           `json:"replication"`         // what Config.Replication says; null: nothing is replicated
	Following   any           `json:"following,omitempty"` // what Config.Following says
	Gaps        []statusGap   `json:"gaps"`                // open ones, the newest hundred at most
	OpenGaps    int64         `json:"open_gaps"`
	Faults      []Fault       `json:"faults"` // the newest first
	History     statusHistory `json:"history"`
}

type statusIndex struct {
	Links     int64  `json:"links"`
	Records   int64  `json:"records"`
	Actors    int64  `json:"actors"`
	LogSeq    uint64 `json:"log_seq"`
	LogOldest uint64 `json:"log_oldest"` // the oldest row of the log that is still there; 0: none
	Unsealed  int64  `json:"unsealed"`   // rows of the log that no segment has
	Segments  int    `json:"segments"`
	Runs      int    `json:"runs"` // sorted runs, those in segments too
	Jobs      int    `json:"jobs"` // changes of status of large accounts that are under way
	Sealing   bool   `json:"sealing"`
	Merging   bool   `json:"merging"`
	Failed    string `json:"failed,omitempty"`
}

// statusSpace is where the bytes are. What can't be said yet, or by this system, is null.
type statusSpace struct {
	Database int64         `json:"database_bytes"`
	WAL      int64         `json:"wal_bytes"`
	Segments int64         `json:"segment_bytes"`
	Memory   int64         `json:"memory_bytes"` // that the index takes
	Levels   []statusLevel `json:"levels"`       // of segments, from 0
	PerLink  *float64      `json:"bytes_per_link"`
	Written  *float64      `json:"write_amplification"` // bytes written since the start for each byte that was sealed into segments
	Free     *int64        `json:"free_bytes"`
	Total    *int64        `json:"total_bytes"` // of the file system
	Growth   *int64        `json:"bytes_per_day"`
	Measured int64         `json:"measured_seconds"` // over which time the growth was seen, a day at most
	FullAt   *string       `json:"full_at"`          // RFC 3339; null too where that is more than ten years away
}

type statusLevel struct {
	Level int   `json:"level"`
	Files int   `json:"files"`
	Links int64 `json:"links"`
	Bytes int64 `json:"bytes"`
}

// statusGap is a gap with what came of filling it. Times are in RFC 3339.
type statusGap struct {
	ID    int64  `json:"id"`
	Host  string `json:"host"`
	From  uint64 `json:"from"` // a number of the host's, or from 10^15 on microseconds since 1970; both ends are in it
	To    uint64 `json:"to"`
	Why   string `json:"why"`
	State string `json:"state"`
	Found string `json:"found"`
	Tries int    `json:"tries"` // to fill it
	Note  string `json:"note"`  // what came of the last
}

// Fault is something that went wrong and was logged. Equal ones are one.
type Fault struct {
	Level   string `json:"level"` // warn or error
	Message string `json:"message"`
	Detail  string `json:"detail,omitempty"` // of the newest
	Do      string `json:"do,omitempty"`     // what an operator can do about it
	Count   int    `json:"count"`
	First   string `json:"first"` // RFC 3339
	Last    string `json:"last"`
}

// statusHistory is the last minutes, a point after the other.
type statusHistory struct {
	Every  float64       `json:"every_seconds"`
	Points []statusPoint `json:"points"` // the newest last
}

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
	a := statusAnswer{
		Version: s.Version, Instance: s.InstanceID, Ready: true,
		Index: statusIndex{Links: st.Links, Records: st.Records, Actors: st.Actors, LogSeq: st.LastSeq, LogOldest: sp.LogOldest,
			Unsealed: sp.Unsealed, Segments: st.Segments, Runs: st.Runs, Jobs: st.Jobs, Sealing: st.Sealing, Merging: st.Merging, Failed: st.Failed},
		Space: s.space(&st, &sp),
		Gaps:  []statusGap{}, OpenGaps: st.Gaps,
		Faults:  []Fault{},
		History: statusHistory{recentEvery.Seconds(), s.history.points()},
	}
	if err := s.Ready(); err != nil {
		a.Ready, a.Reason = false, err.Error()
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
		a.Gaps = append(a.Gaps, statusGap{g.ID, g.Host, g.From, g.To, g.Why, g.State,
			time.UnixMicro(g.FoundUS).UTC().Format(time.RFC3339), g.Tries, g.Note})
	}
	return a, nil
}

// farAway is when a full disk is nobody's concern, and a forecast from a day's growth worth nothing.
const farAway = 10 * 365 * 24 * time.Hour

func (s *server) space(st *db.Stats, sp *db.Space) statusSpace {
	a := statusSpace{Database: sp.Database, WAL: sp.WAL, Segments: sp.Segments, Memory: st.Memory, Levels: []statusLevel{}}
	for level, l := range sp.Levels {
		a.Levels = append(a.Levels, statusLevel{level, l.Files, l.Links, l.Bytes})
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
		a.Free, a.Total = &sp.Free, &sp.Total
	}
	growth, span := s.history.growth()
	if span == 0 {
		return a
	}
	perDay := int64(growth)
	a.Growth, a.Measured = &perDay, int64(span.Seconds())
	if days := float64(sp.Free) / growth; a.Free != nil && growth > 0 && days < farAway.Hours()/24 {
		at := s.Now().Add(time.Duration(days * float64(24*time.Hour))).UTC().Format(time.RFC3339)
		a.FullAt = &at
	}
	return a
}
