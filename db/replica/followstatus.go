package replica

import (
	"errors"
	"fmt"
	"time"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/replica/restore"
	"weft.dev/weft/humanize"
)

// Lag returns the age of the shown state, since the primary wrote its LTX file, and the newest log row in it. The age
// also grows while the primary writes nothing.
func (f *Follower) Lag() (time.Duration, uint64) {
	seq := f.index.Seq()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state.time.IsZero() { // the primary wrote it after its newest event
		return max(f.cfg.Now().Sub(time.UnixMicro(f.index.NewestTime())), 0), seq
	}
	return max(f.cfg.Now().Sub(f.state.time), 0), seq // clocks of two machines
}

// Ready returns nil if the index shows the replica's newest state, or showed it within the given time. Otherwise it
// returns the reason.
func (f *Follower) Ready(within time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	behind := f.cfg.Now().Sub(f.state.whole)
	switch {
	case within <= 0 || behind <= within:
		return nil
	case f.state.err != nil:
		return fmt.Errorf("the follower is %s behind its replica: %w", humanize.Duration(behind), f.state.err)
	case len(f.state.missing) > 0:
		return fmt.Errorf("the follower is %s behind its replica: downloading %s",
			humanize.Duration(behind), humanize.Count(int64(len(f.state.missing)), "segment"))
	}
	return fmt.Errorf("the follower is %s behind its replica: the replica grows faster than the download",
		humanize.Duration(behind))
}

// Status returns the progress of the follower.
func (f *Follower) Status() wire.Following {
	lag, seq := f.Lag()
	f.mu.Lock()
	defer f.mu.Unlock()
	st := wire.Following{
		State:           "ok",
		Replica:         f.cfg.Replica.Where(),
		TXID:            wire.TXID(f.state.shown),
		LogSeq:          seq,
		LagSeconds:      lag.Seconds(),
		LookSeconds:     f.cfg.Now().Sub(f.state.whole).Seconds(),
		MissingSegments: len(f.state.missing),
	}
	for _, s := range f.state.missing {
		st.MissingBytes += s.Bytes
	}
	switch {
	case f.state.err != nil:
		st.State = "failing"
		st.LastError = f.state.err.Error()
		st.LastErrorAt = restore.Stamp(f.state.errAt)
		st.Do = followAdvice(f.state.err)
	case len(f.state.missing) > 0:
		st.State = "waiting"
	}
	return st
}

// followAdvice returns the operator's remedy for a failure.
func followAdvice(err error) string {
	var gap *restore.GapError
	var file *restore.FileError
	switch {
	case errors.Is(err, db.ErrOtherIndex):
		return "stop this follower, empty its data directory and start it again"
	case errors.Is(err, restore.ErrNoRoom), disk.IsFull(err):
		return "free space on the disk of the data directory"
	case errors.As(err, &gap):
		return "the primary's next snapshot closes the gap (snapshot.interval in litestream.yml); to close it " +
			"sooner, give the primary a new path in litestream.yml, and this follower the same path with an empty " +
			"data directory"
	case errors.As(err, &file) && file.Damaged():
		return "weft verify lists the damage in the replica; the primary's next snapshot replaces it"
	}
	return "check that the replica is reachable and that its primary is running"
}
