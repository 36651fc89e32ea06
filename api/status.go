package api

import (
	"context"
	"time"
)

// statusAnswer is what /status says: for the one who runs this service, and for those who want to know what its answers
// are worth.
type statusAnswer struct {
	Version  string      `json:"version"`
	Instance string      `json:"instance"`
	Ready    bool        `json:"ready"`
	Reason   string      `json:"reason,omitempty"` // why not ready
	Index    statusIndex `json:"index"`
	Upstream any         `json:"upstream"` // what Config.Upstream says; null: nothing
	Gaps     []statusGap `json:"gaps"`     // open ones, the newest hundred at most
	OpenGaps int64       `json:"open_gaps"`
}

type statusIndex struct {
	Links    int64  `json:"links"`
	Records  int64  `json:"records"`
	Actors   int64  `json:"actors"`
	LogSeq   uint64 `json:"log_seq"`
	Segments int    `json:"segments"`
	Jobs     int    `json:"jobs"` // changes of status of large accounts that are under way
	Failed   string `json:"failed,omitempty"`
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

func (s *server) status(ctx context.Context, _ *params) (any, error) {
	st, err := s.Store.Stats(ctx)
	if err != nil {
		return nil, err
	}
	gaps, err := s.Store.Gaps(ctx)
	if err != nil {
		return nil, err
	}
	a := statusAnswer{Version: s.Version, Instance: s.InstanceID, Ready: true, Gaps: []statusGap{}, OpenGaps: st.Gaps,
		Index: statusIndex{st.Links, st.Records, st.Actors, st.LastSeq, st.Segments, st.Jobs, st.Failed}}
	if err := s.Ready(); err != nil {
		a.Ready, a.Reason = false, err.Error()
	}
	if s.Upstream != nil {
		a.Upstream = s.Upstream()
	}
	for _, g := range gaps {
		a.Gaps = append(a.Gaps, statusGap{g.ID, g.Host, g.From, g.To, g.Why, g.State,
			time.UnixMicro(g.FoundUS).UTC().Format(time.RFC3339), g.Tries, g.Note})
	}
	return a, nil
}
