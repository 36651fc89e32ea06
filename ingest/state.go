package ingest

import (
	"fmt"
	"time"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/humanize"
)

// State is the present state of ingest.
type State struct {
	Name      string    // one of the states of wire.Upstream, but for UpstreamSilent, which is found when it is asked for
	Connected bool      // events come in, or the upstream has none to send
	Host      string    // of the current session, or the last one
	Kind      string    // v2, v1, or empty while it isn't known
	Since     time.Time // the time of the last connect or disconnect
	Why       string    // why the last session ended; empty: there was none, or weft is connected
}

// setConnecting notes that a session with a host begins.
func (in *Ingest) setConnecting(h *host) {
	was := in.state.Load()
	in.state.Store(&State{Name: wire.UpstreamConnecting, Host: h.URL, Kind: h.Kind(), Since: was.Since, Why: was.Why})
}

// setReplaying notes that the archive of a host is read. hasEvents means that events of it have come.
func (in *Ingest) setReplaying(h *host, hasEvents bool) {
	was := in.state.Load()
	if was.Name == wire.UpstreamReplaying && was.Connected {
		return
	}
	in.state.Store(&State{Name: wire.UpstreamReplaying, Connected: hasEvents, Host: h.URL, Kind: h.Kind(),
		Since: in.cfg.Now()})
}

// setWaiting notes that the live stream of a host is open, and its first event has not come. After a backfill, the host
// remains connected.
func (in *Ingest) setWaiting(h *host) {
	connected := in.state.Load().Connected
	in.state.Store(&State{Name: wire.UpstreamWaiting, Connected: connected, Host: h.URL, Kind: h.Kind(),
		Since: in.cfg.Now()})
}

// setConnected notes that the live stream of a host is followed.
func (in *Ingest) setConnected(h *host) {
	was := in.state.Load()
	if was.Name == wire.UpstreamFollowing {
		return
	}
	following := &State{Name: wire.UpstreamFollowing, Connected: true, Host: h.URL, Kind: h.Kind(), Since: in.cfg.Now()}
	in.state.CompareAndSwap(was, following)
}

// setDisconnected notes why a session ended.
func (in *Ingest) setDisconnected(h *host, why error) {
	was := in.state.Load()
	since := was.Since
	if was.Name != wire.UpstreamConnecting { // a session that fails to connect leaves Since as it is
		since = in.cfg.Now()
	}
	in.state.Store(&State{Name: wire.UpstreamDisconnected, Host: h.URL, Kind: h.Kind(), Since: since, Why: why.Error()})
}

// describe returns the name of the present state and its details, for people.
func (in *Ingest) describe() (name, detail string) {
	st := in.state.Load()
	now := in.cfg.Now()
	switch st.Name {
	case wire.UpstreamConnecting:
		if st.Why == "" {
			return st.Name, "connecting"
		}
		return st.Name, fmt.Sprintf("no connection since %s: %s; connecting again", moment(st.Since), st.Why)
	case wire.UpstreamReplaying:
		return st.Name, "replaying its archive: " + in.backfillDetail(now)
	case wire.UpstreamWaiting:
		return st.Name, "connected since " + moment(st.Since) + "; its first event has not come yet"
	case wire.UpstreamFollowing:
		silence := in.silence(now)
		if silence != "" {
			return wire.UpstreamSilent, "connected, but " + silence
		}
		detail = "connected since " + moment(st.Since)
		quiet := in.liveness.quiet(now)
		if quiet > in.cfg.Silence {
			detail += "; it has sent no event for " + humanize.Duration(quiet)
		}
		return st.Name, detail
	case wire.UpstreamDisconnected:
		detail = fmt.Sprintf("no connection since %s: %s", moment(st.Since), st.Why)
		return st.Name, detail + in.nextAttempt(now)
	case wire.UpstreamStopped:
		return st.Name, "stopped"
	}
	return wire.UpstreamStarting, "not started yet"
}

// backfillDetail describes the progress of a backfill.
func (in *Ingest) backfillDetail(now time.Time) string {
	p := in.progressAt(now)
	switch {
	case p.Waiting > 0:
		return "it has sent nothing for " + humanize.Seconds(p.Waiting)
	case p.EventsDone == 0:
		return "its first event has not come yet"
	}
	return fmt.Sprintf("%s of about %s", humanize.Number(p.EventsDone),
		humanize.Count(max(p.Events, p.EventsDone), "event"))
}

// nextAttempt describes when the next session begins; empty: at once.
func (in *Ingest) nextAttempt(now time.Time) string {
	var next time.Time
	for _, h := range in.hosts {
		_, retry := h.Failure()
		if next.IsZero() || retry.Before(next) {
			next = retry
		}
	}
	if !next.After(now) {
		return ""
	}
	return "; next attempt in " + humanize.Duration(next.Sub(now))
}

// silence describes the silence of a stream that is followed; empty: the stream is well. It allows twice the time after
// which a session ends: a single reconnect doesn't take weft out of service.
func (in *Ingest) silence(now time.Time) string {
	l := &in.liveness
	limit := 2 * in.cfg.Silence
	idle := l.idle(now)
	if idle > limit {
		return "no message came for " + humanize.Duration(idle)
	}
	quiet := l.quiet(now)
	if quiet > limit && l.lively.Load() && !l.filtered.Load() {
		return "no event came for " + humanize.Duration(quiet) + ", after a steady stream of events"
	}
	return ""
}

// moment writes a time for people.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
