package segment

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/klauspost/compress/zstd"
)

// rowQueue compresses blocks on several cores, and writes the rows of a run in the order in which they are added. So
// the bytes of a file don't depend on the number of cores. One goroutine does the rest of a seal or a compaction:
// profiles have a third to a half of its time in compression.
type rowQueue struct {
	file    *fileWriter
	z       *zstd.Encoder
	workers int // blocks that are compressed at once; 1: the caller compresses, and nothing waits
	waiting []*queuedRow
	spare   []*queuedRow
	next    [tableFilters + 1]int64 // rows of waiting, by table
}

// queuedRow is a row on its way to the file.
type queuedRow struct {
	table  table // 0: a set
	run    int   // of a set
	prefix []byte
	raw    []byte // a block before compression
	row    []byte
	done   chan struct{} // gets a value when row is complete
	fault  error         // a panic, with its stack
}

// mostWorkers bounds the workers of a file. An encoder takes 4 MB. More workers wait for the goroutine that makes the
// blocks, which has at least half of the work.
const mostWorkers = 4

// defaultWorkers leaves half of the cores to the writer, the log and the queries.
func defaultWorkers() int { return max(1, min(runtime.GOMAXPROCS(0)/2, mostWorkers)) }

// nextRow returns the number of the next row of a table.
func (q *rowQueue) nextRow(t table) int64 { return q.file.next[t] + q.next[t] }

// addBlock adds the block of a writer, and resets the writer. It returns the row's number.
func (q *rowQueue) addBlock(t table, b *blockWriter) (id int64, err error) {
	if q.workers == 1 {
		return q.file.add(t, b.encode(q.file.row(), q.z))
	}
	id = q.nextRow(t)
	raw := b.encodeRaw()
	r, err := q.slot(t)
	if err != nil {
		return 0, err
	}
	r.raw = append(r.raw[:0], raw...)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				r.fault = fmt.Errorf("%v\n%s", p, debug.Stack())
			}
			r.done <- struct{}{}
		}()
		r.row = q.z.EncodeAll(r.raw, r.row)
	}()
	return id, nil
}

// addFixed adds the fixed block of a writer, and resets the writer.
func (q *rowQueue) addFixed(w *fixedWriter) error {
	if q.workers == 1 {
		_, err := q.file.add(tableBlocks, w.encode(q.file.row()))
		return err
	}
	r, err := q.slot(tableBlocks)
	if err != nil {
		return err
	}
	defer func() { r.done <- struct{}{} }() // after a panic too: close waits for it
	r.row = w.encode(r.row)
	return nil
}

// addSet adds the set of a list. content appends it to a row.
func (q *rowQueue) addSet(run int, prefix []byte, content func(row []byte) ([]byte, error)) error {
	if q.workers == 1 {
		row, err := content(q.file.row())
		if err != nil {
			return err
		}
		return q.file.addSet(run, prefix, row)
	}
	r, err := q.slot(0)
	if err != nil {
		return err
	}
	defer func() { r.done <- struct{}{} }()
	r.run = run
	r.prefix = bytes.Clone(prefix)
	r.row, err = content(r.row)
	return err
}

// slot returns the newest place of the queue, for a row of a table; 0: for a set. It writes the oldest row if the queue
// is full.
func (q *rowQueue) slot(t table) (*queuedRow, error) {
	if len(q.waiting) == 2*q.workers {
		err := q.writeOldest()
		if err != nil {
			return nil, err
		}
	}
	if len(q.spare) == 0 {
		q.spare = append(q.spare, &queuedRow{done: make(chan struct{}, 1)})
	}
	last := len(q.spare) - 1
	r := q.spare[last]
	q.spare = q.spare[:last]
	r.table = t
	r.row = append(r.row[:0], make([]byte, sumSize)...)
	q.waiting = append(q.waiting, r)
	q.next[t]++
	return r, nil
}

// writeOldest waits for the oldest row and writes it. A panic of its goroutine goes on here.
func (q *rowQueue) writeOldest() (err error) {
	r := q.await()
	if r.fault != nil {
		panic(r.fault)
	}
	if r.table == 0 {
		err = q.file.insertSet(r.run, r.prefix, r.row)
	} else {
		_, err = q.file.insert(r.table, r.row)
	}
	q.spare = append(q.spare, r)
	return err
}

// await waits for the oldest row, and removes it from the queue.
func (q *rowQueue) await() *queuedRow {
	r := q.waiting[0]
	q.waiting = append(q.waiting[:0], q.waiting[1:]...)
	q.next[r.table]--
	<-r.done
	return r
}

// flush writes all rows.
func (q *rowQueue) flush() error {
	for len(q.waiting) > 0 {
		err := q.writeOldest()
		if err != nil {
			return err
		}
	}
	return nil
}

// close waits for the goroutines. It writes nothing.
func (q *rowQueue) close() {
	for len(q.waiting) > 0 {
		q.await()
	}
}
