package ingest

import (
	"time"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/ingest/upstream"
)

const degradedV1 = "the upstream speaks v1, which sends no resyncs: " +
	"changes of an account that the relay missed are not corrected"

// Status returns the state of the upstreams and of the backfill.
func (in *Ingest) Status() wire.Upstream {
	st := in.state.Load()
	name, detail := in.describe()
	s := wire.Upstream{
		State:      name,
		Connected:  st.Connected,
		Host:       st.Host,
		Kind:       st.Kind,
		Detail:     detail,
		LagSeconds: in.Lag().Seconds(),
		Seq:        in.Seen(),
		Committed:  in.cfg.Store.Cursor(st.Host),
		Queued:     in.queue.depth(),
	}
	if st.Kind == upstream.KindV1 {
		s.Degraded = degradedV1
	}
	if d := in.stuck(); d > 0 {
		s.Degraded = stuckText(d)
	}
	for _, h := range in.hosts {
		s.Hosts = append(s.Hosts, in.hostStatus(h, st))
	}
	if p := in.Progress(); p.Host != "" {
		s.Replay = &p
	}
	return s
}

// hostStatus returns the state of one host. It leaves out the last failure of the host that is followed.
func (in *Ingest) hostStatus(h *host, st *State) wire.UpstreamHost {
	s := wire.UpstreamHost{Host: h.URL, Kind: h.Kind(), Committed: in.cfg.Store.Cursor(h.URL)}
	if st.Connected && h.URL == st.Host {
		return s
	}
	failure, retry := h.Failure()
	s.Failure = failure
	if retry.After(in.cfg.Now()) {
		s.RetryAt = retry.UTC().Format(time.RFC3339)
	}
	return s
}
