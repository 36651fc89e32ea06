package checkpoint

import "time"

const (
	// A blocked checkpoint has moved the frames that it could. The reader that blocked it, a query of seconds or a
	// replicator's snapshot of minutes, is probably still there at the next commit. So the checkpoint is retried after
	// a second, and then after pauses that double each time. The longest pause is short enough that the WAL does not
	// grow for long after the reader has ended.
	minRetry = time.Second
	maxRetry = time.Minute
)

// Pace decides when a checkpoint is attempted: when its rule says so, and later after a checkpoint that was blocked.
type Pace struct {
	rule  Rule
	last  time.Time     // of the last complete one, or of the opening
	delay time.Duration // pause after the last one, which was blocked; 0: it was complete
	retry time.Time     // when the blocked one is retried
}

// NewPace returns the pace of a WAL that is opened now.
func NewPace(rule Rule, now time.Time) Pace { return Pace{rule: rule, last: now} }

// Due reports whether a checkpoint of a WAL of so many frames is due now.
func (p *Pace) Due(frames int, now time.Time) bool {
	return frames > 0 && !now.Before(p.retry) && p.rule.Due(frames, now.Sub(p.last))
}

// Completed notes a complete checkpoint.
func (p *Pace) Completed(now time.Time) { *p = NewPace(p.rule, now) }

// PutOff notes a checkpoint that was blocked or failed, and returns the pause until the next one.
func (p *Pace) PutOff(now time.Time) time.Duration {
	p.delay = min(max(2*p.delay, minRetry), maxRetry)
	p.retry = now.Add(p.delay)
	return p.delay
}
