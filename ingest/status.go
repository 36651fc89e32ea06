package ingest

import (
	"time"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/ingest/upstream"
)

const degradedV1 = "the upstream speaks v1, which sends no resyncs: changes of an account that the relay missed are not corrected"

// Status is what the upstream is doing.
func (in *Ingest) Status() wire.Upstream {
	st := in.state.Load()
	s := wire.Upstream{Connected: st.Connected, Host: st.Host, Kind: st.Kind, Detail: st.Detail, LagSeconds: in.Lag().Seconds(),
		Seq: in.Seen(), Committed: in.cfg.Store.Cursor(st.Host), Queued: in.queue.depth()}
	if st.Kind == upstream.KindV1 {
		s.Degraded = degradedV1
	}
	if d := in.stuck(); d > 0 {
		s.Degraded = stuckText(d)
	}
	in.hostsMu.Lock()
	defer in.hostsMu.Unlock()
	for _, h := range in.hosts {
		hs := wire.UpstreamHost{Host: h.URL, Kind: h.kind, Committed: in.cfg.Store.Cursor(h.URL)}
		if !st.Connected || h.URL != st.Host {
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
