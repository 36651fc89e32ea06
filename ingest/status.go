package ingest

import (
	"time"
)

// Status is what an operator is told of the upstream.
type Status struct {
	Connected  bool         `json:"connected"`   // events come in
	Host       string       `json:"host"`        // that is followed, or was
	Kind       string       `json:"kind"`        // v2, v1, or empty while that isn't known
	Degraded   string       `json:"degraded"`    // what the present mode can't do; empty: nothing
	Detail     string       `json:"detail"`      // since when, or why not connected
	LagSeconds float64      `json:"lag_seconds"` // of the newest event committed
	Seq        uint64       `json:"seq"`         // its position: a number, or from 10^15 on microseconds since 1970
	Committed  uint64       `json:"committed"`   // the position up to which all is in the index
	Queued     int          `json:"queued"`      // events received and not committed
	Hosts      []HostStatus `json:"hosts"`       // in order of preference
	Replay     *Progress    `json:"replay"`      // of the archive; null: none is under way
}

// HostStatus is an upstream among several.
type HostStatus struct {
	Host      string `json:"host"`
	Kind      string `json:"kind"`
	Committed uint64 `json:"committed"`
	Failure   string `json:"failure,omitempty"`  // why it isn't followed
	RetryAt   string `json:"retry_at,omitempty"` // RFC 3339
}

const degradedV1 = "the upstream speaks v1, which sends no resyncs: changes of an account that the relay missed are not corrected"

// Status is what the upstream is doing.
func (in *Ingest) Status() Status {
	st := in.state.Load()
	s := Status{Connected: st.Connected, Host: st.Host, Kind: st.Kind, Detail: st.Detail, LagSeconds: in.Lag().Seconds(),
		Seq: in.Seen(), Committed: in.cfg.Store.Cursor(st.Host), Queued: in.queue.depth()}
	if st.Kind == kindV1 {
		s.Degraded = degradedV1
	}
	if d := in.stuck(); d > 0 {
		s.Degraded = stuckText(d)
	}
	in.hostsMu.Lock()
	defer in.hostsMu.Unlock()
	for _, h := range in.hosts {
		hs := HostStatus{Host: h.url, Kind: h.kind, Committed: in.cfg.Store.Cursor(h.url)}
		if !st.Connected || h.url != st.Host {
			if hs.Failure = h.why; h.retry.After(in.cfg.Now()) {
				hs.RetryAt = h.retry.UTC().Format(time.RFC3339)
			}
		}
		s.Hosts = append(s.Hosts, hs)
	}
	if p := in.Progress(); p.Host != "" {
		s.Replay = &p
	}
	return s
}
