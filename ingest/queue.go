package ingest

import (
	"context"
	"sync"
	"time"
)

// queue holds events between the reader of the upstream and the writer of the store. The reader fills one batch while
// the writer commits another. A reader that is far ahead waits, and stops reading from the upstream.
type queue struct {
	size int           // events that make a batch ready at once
	age  time.Duration // the longest wait of a batch's first event

	mu     sync.Mutex
	host   string // the upstream of the events
	kind   string
	bodies bool          // batches keep the content of records
	ready  []*batch      // full batches, in front of cur
	cost   int           // of ready, in bytes
	cur    *batch        // the batch that is filled
	spare  *batch        // an empty batch; nil: it is being committed
	curAge time.Duration // the longest wait of the first event of cur
	// gathered means that the events of the next batch have come while the reader paused.
	gathered bool
	begun    chan struct{} // cur has its first event
	full     chan struct{} // cur is full
	room     chan struct{} // a batch was taken
	idle     chan struct{} // closed while no event is queued or being committed

	now   func() time.Time
	since time.Time // of the last commit while events wait; zero: no event is queued or being committed
}

// ahead is the number of full batches of events that the reader may queue during a commit. Large commits are the
// cheapest, and a stall of a second must not stop the reader at once.
const ahead = 4

// batchBytes is the memory at which a batch is full; the reader waits at ahead times as much. 1,000 events commonly
// take 1.5 MB; 1,000 of the largest records would take gigabytes.
const batchBytes = 4 << 20

// gatheredAge is the longest wait of the first of events that have gathered. The others are read within some
// milliseconds. The next event, which begins the next pause, joins the batch if it comes within this time: with 20 ms,
// streams of 30 events a second had twice as many commits. An event is committed within a quarter of a second.
const gatheredAge = 45 * time.Millisecond

func newQueue(size int, age time.Duration) *queue {
	q := &queue{
		size:  size,
		age:   age,
		begun: make(chan struct{}, 1),
		full:  make(chan struct{}, 1),
		room:  make(chan struct{}, 1),
		idle:  make(chan struct{}),
		cur:   &batch{},
		spare: &batch{},
		now:   time.Now,
	}
	close(q.idle)
	return q
}

// follow sets the upstream of the next events. All earlier events are committed.
func (q *queue) follow(host, kind string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.host = host
	q.kind = kind
}

// push waits for room and queues a full batch. The queue then owns the batch.
func (q *queue) push(ctx context.Context, b *batch) error {
	hasRoom := func() bool { return !q.readyIsFull() && q.cur.seen == 0 }
	err := q.lockWhen(ctx, hasRoom)
	if err != nil {
		return err
	}
	defer q.mu.Unlock()
	q.busy()
	q.ready = append(q.ready, b)
	q.cost += b.cost()
	signal(q.begun)
	signal(q.full)
	return nil
}

// lockWhen waits until hasRoom is true, and locks q. It checks hasRoom whenever a batch was taken. On an error q isn't
// locked.
func (q *queue) lockWhen(ctx context.Context, hasRoom func() bool) error {
	for {
		q.mu.Lock()
		if hasRoom() {
			return nil
		}
		q.mu.Unlock()
		select {
		case <-q.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// busy notes that an event is queued.
func (q *queue) busy() {
	select {
	case <-q.idle:
		q.idle = make(chan struct{})
		q.since = q.now()
	default:
	}
}

// signal sets a flag: a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// add waits for room and calls do with the current batch.
func (q *queue) add(ctx context.Context, do func(*batch)) error {
	err := q.lockWhen(ctx, func() bool { return !q.isBehind() })
	if err != nil {
		return err
	}
	defer q.mu.Unlock()
	before := q.cur.seen
	q.cur.Host = q.host
	q.cur.Kind = q.kind
	q.cur.bodies = q.bodies
	do(q.cur)
	if before == 0 && q.cur.seen > 0 {
		q.begin()
	}
	if q.cur.seen >= q.size || q.cur.cost() >= batchBytes {
		signal(q.full)
	}
	return nil
}

// flush is called before the reader pauses while events gather. The current batch is ready. The next one is
// gatheredAge after its first event, or at the next pause.
func (q *queue) flush() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gathered = true
	if q.cur.seen > 0 {
		signal(q.full)
	}
}

// begin notes the first event of the current batch.
func (q *queue) begin() {
	q.curAge = q.age
	if q.gathered {
		q.curAge = min(q.age, gatheredAge)
		q.gathered = false
	}
	q.busy()
	signal(q.begun)
}

// ageOfBatch returns curAge.
func (q *queue) ageOfBatch() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.curAge
}

// isBehind reports whether the writer is so far behind that the reader must wait.
func (q *queue) isBehind() bool {
	return q.cur.seen >= q.size*ahead || q.cur.cost() >= batchBytes*ahead
}

// take waits for a batch that is full or old enough. After the end of ctx it returns the queued batches, and at last
// nil.
func (q *queue) take(ctx context.Context) *batch {
	select {
	case <-q.begun:
		timer := time.NewTimer(q.ageOfBatch())
		defer timer.Stop()
		select {
		case <-q.full:
		case <-timer.C:
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	// The flags belong to the batch that is taken.
	unset(q.begun)
	unset(q.full)
	if len(q.ready) > 0 {
		return q.takeReady()
	}
	if q.cur.seen == 0 {
		return nil
	}
	b := q.cur
	q.cur = q.spare
	q.spare = nil
	signal(q.room)
	return b
}

// takeReady takes the first full batch, and sets the flags of the next.
func (q *queue) takeReady() *batch {
	b := q.ready[0]
	q.ready = append(q.ready[:0], q.ready[1:]...)
	q.cost -= b.cost()
	if len(q.ready) > 0 {
		signal(q.begun)
		signal(q.full)
	} else if q.cur.seen > 0 {
		signal(q.begun)
	}
	signal(q.room)
	return b
}

func unset(flag chan struct{}) {
	select {
	case <-flag:
	default:
	}
}

// done returns a batch to the queue after its commit.
func (q *queue) done(b *batch) {
	b.reset()
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.spare == nil {
		q.spare = b
	} else {
		batches.Put(b)
	}
	q.since = q.now()
	if q.cur.seen == 0 && len(q.ready) == 0 {
		q.since = time.Time{}
		close(q.idle)
	}
}

// committed restarts the wait of queued events: the store has committed some, perhaps as a part of a batch.
func (q *queue) committed() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.since.IsZero() {
		q.since = q.now()
	}
}

// waiting returns the time since which events wait without a commit; zero: no event waits.
func (q *queue) waiting() time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.since
}

// drained waits until all queued events are committed.
func (q *queue) drained(ctx context.Context) error {
	q.mu.Lock()
	idle := q.idle
	q.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isFull reports whether the reader waits for the writer.
func (q *queue) isFull() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.isBehind() || q.readyIsFull()
}

// readyIsFull reports whether the reader of an archive must wait: the full batches are too many or too large.
func (q *queue) readyIsFull() bool { return len(q.ready) >= ahead || q.cost >= batchBytes*ahead }

// depth returns the number of events that wait.
func (q *queue) depth() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.cur.seen
	for _, b := range q.ready {
		n += b.seen
	}
	return n
}
