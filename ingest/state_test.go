package ingest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
	"weft.dev/weft/ingest/upstream"
)

// TestStates: each state of an upstream has its description, and Ready returns the reason of a state without events.
func TestStates(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	now := start
	in := New(Config{Hosts: []upstream.Endpoint{{URL: "https://a.example"}}, Store: &stuckStore{},
		Now: func() time.Time { return now }})
	h := in.hosts[0]
	gone := errors.New("it answers 502")
	refuse := func() {
		in.setDisconnected(h, gone)
		h.SessionEnded(gone, now, false, true)
	}
	reset := func() { in.liveness.reset(now, db.Followed{}, false, false) }
	for _, step := range []struct {
		name   string
		do     func()
		wait   time.Duration
		state  string
		detail string // begins
		ends   string // substring of the detail
		ready  string // substring of the reason; empty: ready
	}{
		{"at the start", func() {}, 0, wire.UpstreamStarting, "not started yet", "",
			"not following https://a.example: not started yet"},
		{"the first session", func() { in.setConnecting(h) }, 0, wire.UpstreamConnecting, "connecting", "", "not following"},
		{"it fails", refuse, 0, wire.UpstreamDisconnected,
			"no connection since 2026-07-01 12:00:00 UTC: it answers 502; next attempt in ", "ms",
			"not following https://a.example: no connection since"},
		{"another session", func() { in.setConnecting(h) }, time.Minute, wire.UpstreamConnecting,
			"no connection since 2026-07-01 12:00:00 UTC: it answers 502; connecting again", "", "not following"},
		{"it fails too", refuse, time.Minute, wire.UpstreamDisconnected, "no connection since 2026-07-01 12:00:00 UTC", "",
			"not following"},
		{"the archive", func() {
			in.setConnecting(h)
			reset()
			in.setReplaying(h, false)
			in.progress.p = wire.Replay{Host: h.URL, Events: 1000, Since: now}
			in.progress.heard = now
		}, 2 * time.Second, wire.UpstreamReplaying, "replaying its archive: its first event has not come yet", "",
			"no event from https://a.example: replaying its archive"},
		{"the archive is silent", func() {}, 18 * time.Second, wire.UpstreamReplaying,
			"replaying its archive: it has sent nothing for 20 s", "", "nothing for 20 s"},
		{"its events", func() {
			in.progress.read(250, 250, 0, now)
			in.setReplaying(h, true)
		}, 0, wire.UpstreamReplaying, "replaying its archive: 250 of about 1,000 events", "", ""},
		{"the live stream after it", func() { in.progress.end(); in.setWaiting(h); reset() }, 0, wire.UpstreamWaiting,
			"connected since 2026-07-01 12:02:20 UTC; its first event has not come yet", "", ""},
		{"its first event", func() { in.setConnected(h) }, 0, wire.UpstreamFollowing,
			"connected since 2026-07-01 12:02:20 UTC", "UTC", ""},
		{"a quiet network", func() { in.liveness.pongAt.Store(now.Add(200 * time.Second).UnixMicro()) }, 200 * time.Second,
			wire.UpstreamFollowing, "connected since", "; it has sent no event for 3 min 20 s", ""},
		{"the steady stream stops", func() { in.liveness.lively.Store(true) }, 0, wire.UpstreamSilent,
			"connected, but no event came for 3 min 20 s, after a steady stream of events", "", "no event came for 3 min 20 s"},
		{"no ping is answered", func() {}, 2 * time.Minute, wire.UpstreamSilent, "connected, but no message came for 2 min",
			"",
			"no message came for 2 min, from https://a.example"},
		{"the connection breaks", func() { in.setDisconnected(h, gone) }, 0, wire.UpstreamDisconnected,
			"no connection since 2026-07-01 12:07:40 UTC: it answers 502", "502", "not following"},
		{"another session's stream", func() { in.setConnecting(h); reset(); in.setWaiting(h) }, 0, wire.UpstreamWaiting,
			"connected since 2026-07-01 12:07:40 UTC; its first event has not come yet", "",
			"no event from https://a.example: connected since"},
	} {
		step.do()
		now = now.Add(step.wait)
		state, detail := in.describe()
		if state != step.state || !strings.HasPrefix(detail, step.detail) || !strings.HasSuffix(detail, step.ends) {
			t.Errorf("%s: %s, %q", step.name, state, detail)
		}
		st := in.Status()
		if st.State != state || st.Detail != detail {
			t.Errorf("%s: the status has %s, %q", step.name, st.State, st.Detail)
		}
		err := in.Ready()
		if (err == nil) != (step.ready == "") || err != nil && !strings.Contains(err.Error(), step.ready) {
			t.Errorf("%s: ready: %v", step.name, err)
		}
	}
}

// TestBackfillRate: the rate of a backfill is that of the last seconds. It falls to 0 when the archive stalls, and the
// progress reports the stall, unless weft itself doesn't read.
func TestBackfillRate(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	var p progress
	p.p = wire.Replay{Host: "a", Events: 1_000_000, Since: now}
	p.heard = now
	second := func(events int64) {
		now = now.Add(time.Second)
		p.read(events, 1, 1, now.Add(-time.Millisecond))
	}
	second(1000)
	if r := p.get(now, false); r.Rate != 1000 || r.ETA != 999 || r.Waiting != 0 {
		t.Errorf("after a second: %+v", r)
	}
	for range 60 {
		second(1000)
	}
	for range rateSeconds {
		second(2000)
	}
	if r := p.get(now, false); r.Rate != 2000 {
		t.Errorf("after as many seconds as it is measured over, twice as fast: %+v", r)
	}
	unread := &progress{p: p.p, came: p.came, second: p.second, heard: p.heard} // get is not called until the end
	before := p.get(now, false).Rate
	for i := range rateSeconds {
		if want := unread.get(now, false); i == rateSeconds/2 && p.get(now, false) != want {
			t.Errorf("the progress is %+v, and %+v after earlier calls of get", want, p.get(now, false))
		}
		now = now.Add(time.Second)
		rate := p.get(now, false).Rate
		if rate > before {
			t.Errorf("the rate of a stalled archive grows from %f to %f", before, rate)
		}
		before = rate
	}
	if r := p.get(now, false); r.Rate != 0 || r.ETA != 0 || r.Waiting != 15.001 || r.EventsDone != 91_000 {
		t.Errorf("a stalled archive: %+v", r)
	}
	if r := p.get(now, true); r.Waiting != 0 {
		t.Errorf("while weft is busy: %+v", r)
	}
	if r := p.get(now, false); r.Waiting != 15.001 {
		t.Errorf("a call of get while weft is busy changes the next one: %+v", r)
	}
	p.pushed(now)
	if r := p.get(now.Add(stalledAfter-1), false); r.Waiting != 0 {
		t.Errorf("just after weft was busy: %+v", r)
	}
	if r := p.get(now.Add(stalledAfter), false); r.Waiting != stalledAfter.Seconds() {
		t.Errorf("long after weft was busy: %+v", r)
	}
	p.fetched(100, now.Add(time.Hour))
	if r := p.get(now.Add(time.Hour), false); r.Waiting != 0 || r.Rate != 0 || r.BytesDone != 100 {
		t.Errorf("when bytes come again: %+v", r)
	}
	p.end()
	if r := p.get(now, false); r != (wire.Replay{}) {
		t.Errorf("after the end: %+v", r)
	}
}
