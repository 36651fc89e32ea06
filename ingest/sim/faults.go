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

// Faults is how a Server misbehaves; the zero value is a server in order. "Every n" strikes once in n times, at a place
// that Seed chooses; frames are counted over all connections. What must happen at a certain moment has a method of
// Server instead: DropAll, Stall, Refuse, FailArchive, CorruptBlock, Crash, JumpFuture.
type Faults struct {
	Seed uint64

	// DropEvery cuts the connection, without a goodbye, behind every n-th frame.
	DropEvery int
	// TruncateEvery sends half of every n-th frame and cuts the connection.
	TruncateEvery int
	// DuplicateEvery sends every n-th frame twice.
	DuplicateEvery int
	// SpoilEvery sends something else in the place of every n-th frame: the event is lost on this connection, the
	// connection stays, and a client that asks again gets the event. Most upstream errors are of this kind.
	SpoilEvery int
	// GarbageEvery sends a frame that isn't an event in front of every n-th: half a JSON, bytes, an array, an object of
	// another shape, nothing at all. No event is lost.
	GarbageEvery int
	// UnknownEvery sends a well-formed message of a kind that doesn't exist yet in front of every n-th frame.
	UnknownEvery int
	// ErrorEvery sends an error frame in the place of every n-th frame and closes; on v1, which has none, it only
	// closes.
	ErrorEvery int

	// RefuseEvery answers every n-th subscription with RefuseStatus before the upgrade.
	RefuseEvery int
	// RefuseStatus is the status of refusals. Zero: 500. With 429, RetryAfter goes along.
	RefuseStatus int
	// RetryAfter is rounded up to whole seconds.
	RetryAfter time.Duration

	// ArchiveErrorEvery answers every n-th planSnapshot, getSegment and getBlock with 500.
	ArchiveErrorEvery int

	// ClampTo raises every cursor, silently and on both wires, to at most this many events before the tip.
	ClampTo int

	// Reorder shuffles new events among accounts inside windows of this many; each account's order stays. Seqs and
	// times are those of the new order. The log itself is reordered, and Replay with it.
	Reorder int
	// RedeliverEvery puts every n-th new event into the log twice, the second time right behind the first and with a
	// seq of its own, as after a relay's restart.
	RedeliverEvery int
}

// cause numbers the faults that count frames, so that each strikes at places of its own.
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

// due says whether the count-th time, from 1, is one of the n-ths.
func (f *Faults) due(c cause, n, count int) bool {
	return n > 0 && uint64(count)%uint64(n) == mix(f.Seed+uint64(c))%uint64(n)
}

// faultState holds the active faults.
type faultState struct {
	mu       sync.Mutex
	f        Faults
	frames   int // sent
	upgrades int // asked for
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

// upgrade is the status that refuses a subscription, or zero.
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

// archive is the status that refuses a request to the archive, or zero.
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

// corrupted is the blocks of a segment that are served wrong.
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

// Ends of a connection that are faults and no failures.
var (
	errDropped = errors.New("sim: connection dropped on purpose")
	errFrame   = errors.New("sim: connection closed behind an error frame")
)

// strike sends one frame, with the faults that are due at it.
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
		_ = c.flush() // it ends here in any case
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

// garbage sends a frame that no decoder takes for an event. An unlucky cut of the frame itself is one of the kinds.
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

// unknown is a message of the future.
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
