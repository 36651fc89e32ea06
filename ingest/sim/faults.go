package sim

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Faults configures the faults of a Server; the zero value has none. "Every n" strikes once in n times, at a point that
// Seed chooses; frames are counted over all connections. Faults at a certain moment are methods of Server: DropAll,
// Stall, Refuse, FailArchive, CorruptBlock, Crash, JumpFuture.
type Faults struct {
	Seed uint64

	// DropEvery drops the connection, without a close frame, after every n-th frame.
	DropEvery int
	// TruncateEvery sends half of every n-th frame and drops the connection.
	TruncateEvery int
	// DuplicateEvery sends every n-th frame twice.
	DuplicateEvery int
	// SpoilEvery replaces every n-th frame by another: this connection loses the event but stays open, and a later
	// request gets the event. Most upstream errors are of this kind.
	SpoilEvery int
	// GarbageEvery sends a frame that isn't an event before every n-th: half a JSON, bytes, an array, an object of
	// another shape, nothing at all. No event is lost.
	GarbageEvery int
	// UnknownEvery sends a well-formed message of an unknown kind before every n-th frame.
	UnknownEvery int
	// ErrorEvery replaces every n-th frame by an error frame and closes; on v1, which has no error frames, it only
	// closes.
	ErrorEvery int

	// RefuseEvery answers every n-th subscription with RefuseStatus before the upgrade.
	RefuseEvery int
	// RefuseStatus is the status of refusals. Zero: 500. 429 includes RetryAfter.
	RefuseStatus int
	// RetryAfter is rounded up to whole seconds.
	RetryAfter time.Duration

	// ArchiveErrorEvery answers every n-th planSnapshot, getSegment and getBlock with 500.
	ArchiveErrorEvery int

	// ClampTo raises every cursor, silently and on both wires, to at most this many events before the tip.
	ClampTo int

	// Reorder shuffles new events among accounts within windows of this size; each account's order stays. Seqs and
	// times follow the new order. The log itself is reordered, and so is Replay.
	Reorder int
	// RedeliverEvery adds every n-th new event to the log twice, the second time directly after the first and with its
	// own seq, as after a relay's restart.
	RedeliverEvery int
}

// cause numbers the faults that count frames, so that each strikes at other points.
type cause uint64

const (
	causeDrop cause = iota + 1
	causeTruncate
	causeDuplicate
	causeSpoil
	causeGarbage
	causeUnknown
	causeError
	causeRefuse
	causeArchive
	causeRedeliver
)

// due reports whether the count-th time, from 1, is one of the n-ths.
func (f *Faults) due(c cause, n, count int) bool {
	return n > 0 && uint64(count)%uint64(n) == mix(f.Seed+uint64(c))%uint64(n)
}

// faultState holds the active faults.
type faultState struct {
	mu       sync.Mutex
	f        Faults
	frames   int // sent
	upgrades int // requested subscriptions
	archives int // requests to the archive
	stalled  time.Time

	refuseLeft, refuseStatus int
	refuseRetry              time.Duration
	archiveLeft, archiveCode int
	bad                      map[uint64][]int // blocks by segment
}

func (fs *faultState) set(f Faults) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.f = f
}

func (fs *faultState) get() Faults {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.f
}

// upgrade returns the status that refuses a subscription, or zero.
func (fs *faultState) upgrade() (status int, retry time.Duration) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.upgrades++
	if fs.refuseLeft > 0 {
		fs.refuseLeft--
		return fs.refuseStatus, fs.refuseRetry
	}
	if !fs.f.due(causeRefuse, fs.f.RefuseEvery, fs.upgrades) {
		return 0, 0
	}
	if fs.f.RefuseStatus == 0 {
		return http.StatusInternalServerError, 0
	}
	return fs.f.RefuseStatus, fs.f.RetryAfter
}

// archive returns the status that refuses a request to the archive, or zero.
func (fs *faultState) archive() (status int, retry time.Duration) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.archives++
	if fs.archiveLeft > 0 {
		fs.archiveLeft--
		return fs.archiveCode, 0
	}
	if fs.f.due(causeArchive, fs.f.ArchiveErrorEvery, fs.archives) {
		return http.StatusInternalServerError, 0
	}
	return 0, 0
}

// corrupted returns the blocks of a segment that are served damaged.
func (fs *faultState) corrupted(index uint64) []int {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return slices.Clone(fs.bad[index])
}

// stall waits until a stall is over.
func (fs *faultState) stall(ctx context.Context) error {
	for {
		fs.mu.Lock()
		wait := time.Until(fs.stalled)
		fs.mu.Unlock()
		if wait <= 0 {
			return nil
		}
		select {
		case <-time.After(min(wait, 20*time.Millisecond)): // another Stall may end it
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Ends of a connection by a fault, which aren't failures of the server.
var (
	errDropped = errors.New("sim: connection dropped on purpose")
	errFrame   = errors.New("sim: connection closed behind an error frame")
)

// strike sends one frame, with the faults that are due.
func (fs *faultState) strike(ctx context.Context, c *subscriber, frame []byte) error {
	fs.mu.Lock()
	f := fs.f
	fs.frames++
	k := fs.frames
	stalled := time.Now().Before(fs.stalled)
	fs.mu.Unlock()
	if stalled {
		if err := c.flush(); err != nil {
			return err
		}
		if err := fs.stall(ctx); err != nil {
			return err
		}
	}
	if f.due(causeUnknown, f.UnknownEvery, k) {
		c.frame(c.s.codec.compress(unknown(c, k), c.wire))
	}
	if f.due(causeGarbage, f.GarbageEvery, k) {
		c.garbage(f.Seed, k, frame)
	}
	switch {
	case f.due(causeError, f.ErrorEvery, k):
		if !c.wire.v1() {
			c.frame(c.s.codec.compress([]byte(`{"$type":"error","error":"ConsumerTooSlow","message":"dropped on purpose"}`),
				c.wire))
		}
		_ = c.flush() // the connection ends anyway
		return errFrame
	case f.due(causeTruncate, f.TruncateEvery, k):
		whole := len(c.buf)
		c.frame(frame)
		c.buf = c.buf[:whole+(len(c.buf)-whole)/2]
		_ = c.flush()
		_ = c.raw.Close()
		return errDropped
	case f.due(causeSpoil, f.SpoilEvery, k):
		c.garbage(f.Seed, k, frame)
		return nil
	}
	c.frame(frame)
	if f.due(causeDuplicate, f.DuplicateEvery, k) {
		c.frame(frame)
	}
	if f.due(causeDrop, f.DropEvery, k) {
		_ = c.flush()
		_ = c.raw.Close()
		return errDropped
	}
	return nil
}

// garbage sends a frame that every decoder refuses. A badly truncated frame is one of the kinds.
func (c *subscriber) garbage(seed uint64, k int, frame []byte) {
	r := rng{seed ^ uint64(k)}
	switch r.n(5) {
	case 0:
		c.frame(frame[:len(frame)/2])
	case 1:
		sum := fakeHash(&r)
		c.buf = appendFrame(c.buf, c.wire.zstd(), []byte(strconv.QuoteToASCII(string(sum[:]))))
	case 2:
		c.frame(c.s.codec.compress([]byte(`[1,2,3]`), c.wire))
	case 3:
		c.frame(c.s.codec.compress([]byte(`{"did":7,"$type":"message","payload":{"seq":"x"},"kind":"commit","commit":[]}`),
			c.wire))
	default:
		c.frame(nil)
	}
}

// unknown returns a message of an unknown kind.
func unknown(c *subscriber, k int) []byte {
	if c.wire.v1() {
		return []byte(`{"did":"did:plc:ewvi7nxzyoun6zhxrhs64oiz","time_us":1,"kind":"label","label":{"val":"x"}}`)
	}
	if k%2 == 0 {
		return []byte(`{"$type":"notice","text":"a new kind of envelope"}`)
	}
	return []byte(`{"$type":"message","payload":{"$type":"` + v2Types +
		`#label","seq":1,"did":"did:plc:ewvi7nxzyoun6zhxrhs64oiz","val":"x"}}`)
}
