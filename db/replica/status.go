package replica

import (
	"errors"
	"os"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"

	"weft.dev/weft/api/wire"
)

// progress is the replicator's own record of its LTX files and uploads: Litestream's own time of the last success looks
// healthy while Litestream is stuck.
type progress struct {
	checked bool // the replica is known to be this index's
	known   knownFiles
	begun   ltx.TXID   // newest transaction that was there when this process began
	gone    *GoneError // uploaded files are gone, and must be sent again; nil: all are there
	resent  ltx.TXID   // sent again and not yet listed; 0: none
	polled  bool       // the replica was polled since the first upload

	instance     string   // of the index; empty: there is none yet
	sentTXID     ltx.TXID // newest file of level 0 that was uploaded; 0: none yet
	sentChecksum string   // of it

	cuts     []cutMark // not in the replica, oldest first
	cut      cutMark   // the newest
	remote   ltx.TXID  // newest in the replica
	durable  uint64    // newest log row in the replica
	success  time.Time // of the newest upload, or of finding nothing to upload
	failures map[string]failure
	last     failure // newest, including recovered ones
}

// cutMark is an LTX file on this disk: the state that the replica has once it has the file.
type cutMark struct {
	txid  ltx.TXID
	seq   uint64    // log rows up to here
	since time.Time // no write that only this file has is earlier
	n     int64     // transactions in this file
	bytes int64     // on disk
}

type failure struct {
	err  error
	at   time.Time // of the first in a row
	last time.Time
	n    int // in a row
}

func (r *Replicator) noteCut(txid ltx.TXID, seq uint64, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.state
	if txid == p.cut.txid {
		p.cut.seq = seq
		p.cut.since = at // nothing was written since
		if n := len(p.cuts); n > 0 {
			p.cuts[n-1].seq = seq
		} else {
			p.durable = seq
		}
		return
	}
	m := cutMark{txid: txid, seq: seq, since: p.cut.since}
	m.n = 1
	if p.cut.txid > 0 { // earlier files are from before the start, and most are in the replica
		m.n = int64(txid - p.cut.txid)
		for t := p.cut.txid + 1; t <= txid; t++ {
			if info, err := os.Stat(r.local.LTXPath(0, t, t)); err == nil {
				m.bytes += info.Size()
			}
		}
	}
	if m.since.IsZero() {
		m.since = at
	}
	p.cuts = append(p.cuts, m)
	p.cut = cutMark{txid: txid, seq: seq, since: at}
}

func (r *Replicator) noteUpload(remote ltx.TXID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.state
	if remote == 0 {
		return // an upload failed; the next upload first asks for the replica's newest file
	}
	p.remote = remote
	for len(p.cuts) > 0 && p.cuts[0].txid <= remote {
		p.durable = p.cuts[0].seq
		p.cuts = p.cuts[1:]
	}
}

func (r *Replicator) succeeded(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if f := r.state.failures[what]; f.n > 0 {
		r.cfg.Logger.Info("replication works again", "what", what, "failures", f.n,
			"since", r.cfg.Now().Sub(f.at).Round(time.Second))
	}
	delete(r.state.failures, what)
	if len(r.state.cuts) == 0 && (what == "cut" || what == "upload" || what == "flush") {
		r.state.success = r.cfg.Now()
	}
}

// failed counts a failure. It logs the first failure in a row, and then every hundredth.
func (r *Replicator) failed(what string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	f := r.state.failures[what]
	if f.n == 0 {
		f.at = now
	}
	f.err = err
	f.last = now
	f.n++
	if r.state.failures == nil {
		r.state.failures = map[string]failure{}
	}
	r.state.failures[what] = f
	r.state.last = failure{err: err, at: now}
	if f.n%100 == 1 {
		r.cfg.Logger.Warn("replication is failing", "what", what, "err", err, "failures", f.n, "do", advice(err))
	}
}

// advice returns the operator's remedy for a failure.
func advice(err error) string {
	var foreign *ForeignError
	var writer *WriterError
	var gone *GoneError
	var file *litestream.LTXError
	switch {
	case errors.As(err, &writer):
		return writer.Do
	case errors.As(err, &foreign):
		return "stop the other writer, then give this index its own path in the replica"
	case errors.As(err, &gone):
		return "weft uploads everything again; check whether a lifecycle rule of the bucket deletes objects, or " +
			"whether the path has changed: older states cannot be restored"
	case errors.As(err, &file):
		return "restart weft: it continues from the replica's newest file; queries and indexing continue meanwhile"
	}
	return "check that the store answers and the keys are valid; indexing continues, and uploads catch up"
}

// Status returns the progress of the replica. It sends no request.
func (r *Replicator) Status() wire.Replication {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &r.state
	now := r.cfg.Now()
	st := wire.Replication{
		State:            "ok",
		Replica:          r.cfg.Replica.Where(),
		LocalTXID:        uint64(p.cut.txid),
		ReplicaTXID:      uint64(p.remote),
		DurableLogSeq:    p.durable,
		SegmentsUploaded: r.queue.sent.Load(),
		UploadedBytes:    r.sent.Load(),
	}
	if r.index != nil {
		st.LogSeq = r.index.Seq()
	}
	st.SegmentsWaiting, st.SegmentsWaitingBytes = r.queue.backlog()
	st.LagBytes = st.SegmentsWaitingBytes
	for _, c := range p.cuts {
		st.LagBytes += c.bytes
		st.LagTransactions += c.n
	}
	switch {
	case len(p.cuts) > 0:
		st.LagSeconds = now.Sub(p.cuts[0].since).Seconds()
	case st.LogSeq > p.durable && !p.cut.since.IsZero():
		st.LagSeconds = now.Sub(p.cut.since).Seconds()
	case p.cut.since.IsZero() && !p.last.at.IsZero():
		st.LagSeconds = now.Sub(r.firstFailure()).Seconds() // no sync has succeeded since the start
	}
	if len(p.cuts) > 0 || st.SegmentsWaiting > 0 {
		st.State = "behind"
	}
	newest := time.Time{}
	for what, f := range p.failures {
		st.State = "failing"
		st.Failures = max(st.Failures, f.n)
		if st.Reason == "" || f.last.After(newest) {
			newest = f.last
			st.Reason = what + ": " + f.err.Error()
			st.Do = advice(f.err)
		}
	}
	if !p.success.IsZero() {
		st.LastSuccess = p.success.UTC().Format(time.RFC3339)
	}
	if p.last.err != nil {
		st.LastError = p.last.err.Error()
		st.LastErrorAt = p.last.at.UTC().Format(time.RFC3339)
	}
	return st
}

func (r *Replicator) firstFailure() time.Time {
	first := r.cfg.Now()
	for _, f := range r.state.failures {
		if f.at.Before(first) {
			first = f.at
		}
	}
	return first
}
