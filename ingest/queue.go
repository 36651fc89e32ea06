package ingest

import (
	"context"
	"sync"
	"time"
)

// queue stands between the reader of the upstream and the writer of the store. The reader fills one batch while the
// writer commits the other; a reader that is far ahead waits, and that is the back-pressure that the upstream feels.
type queue struct {
	size int           // events that make a batch ready at once
	age  time.Duration // how long its first event may wait

	mu     sync.Mutex
	host   string // whose events come
	kind   string
	bodies bool     // records that link bring their content
	ready  []*batch // whole ones, in front of cur
	cost   int      // of ready
	cur    *batch
	spare  *batch
	begun  chan struct{} // the batch has its first event
	full   chan struct{} // the batch has size events
	room   chan struct{} // the batch was taken
	idle   chan struct{} // closed while nothing is queued or being committed

	now   func() time.Time
	since time.Time // events wait, and none was committed since then; zero: nothing is queued or being committed
}

// ahead is how many batches' worth of events the reader may gather while a commit is under way: large commits are the
// cheapest, and a stall of a second must not stop the reader at once.
const ahead = 4

// batchBytes is what a batch may cost in memory until it is ready as well, and ahead times as much makes the reader wait:
// 1,000 events cost 1.5 MB commonly, and with records of the largest kind they would cost gigabytes.
const batchBytes = 4 << 20

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

// follow names the upstream whose events come from now on. All that came before is committed.
func (q *queue) follow(host, kind string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.host, q.kind = host, kind
}

// push queues a whole batch, once there is room. It is the queue's from then on.
func (q *queue) push(ctx context.Context, b *batch) error {
	for {
		q.mu.Lock()
		if q.cost < batchBytes*ahead && len(q.ready) < ahead && q.cur.seen == 0 {
			break
		}
		q.mu.Unlock()
		select {
		case <-q.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer q.mu.Unlock()
	q.busy()
	q.ready = append(q.ready, b)
	q.cost += b.cost()
	signal(q.begun)
	signal(q.full)
	return nil
}

// busy says that something waits, or is being committed.
func (q *queue) busy() {
	select {
	case <-q.idle:
		q.idle = make(chan struct{})
		q.since = q.now()
	default:
	}
}

// signal raises a flag, once.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// add lets do fill the current batch, once there is room.
func (q *queue) add(ctx context.Context, do func(*batch)) error {
	for {
		q.mu.Lock()
		if !q.behind() {
			break
		}
		q.mu.Unlock()
		select {
		case <-q.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer q.mu.Unlock()
	before := q.cur.seen
	q.cur.Host, q.cur.Kind, q.cur.bodies = q.host, q.kind, q.bodies
	do(q.cur)
	if before == 0 && q.cur.seen > 0 {
		q.busy()
		signal(q.begun)
	}
	if q.cur.seen >= q.size || q.cur.cost() >= batchBytes {
		signal(q.full)
	}
	return nil
}

// behind says that the writer is so far behind that the reader is to wait.
func (q *queue) behind() bool {
	return q.cur.seen >= q.size*ahead || q.cur.cost() >= batchBytes*ahead
}

// take waits for a batch that is large or old enough. When ctx ends it gives what there is, at last nil.
func (q *queue) take(ctx context.Context) *batch {
	select {
	case <-q.begun:
		timer := time.NewTimer(q.age)
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
	// The flags belong to the batch that goes.
	select {
	case <-q.begun:
	default:
	}
	select {
	case <-q.full:
	default:
	}
	if len(q.ready) > 0 {
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
	if q.cur.seen == 0 {
		return nil
	}
	b := q.cur
	q.cur, q.spare = q.spare, nil
	signal(q.room)
	return b
}

// done gives a batch back after its commit.
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

// waiting returns since when events wait without a commit; zero: none does.
func (q *queue) waiting() time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.since
}

// drained waits until all that was added is committed.
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

// isFull says that the reader waits for the writer.
func (q *queue) isFull() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.behind() || len(q.ready) >= ahead
}

// depth is the number of events that wait.
func (q *queue) depth() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.cur.seen
	for _, b := range q.ready {
		n += b.seen
	}
	return n
}
