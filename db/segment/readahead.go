package segment

import "sort"

// readahead asks the kernel for the data blocks that an iteration reads next, because a segment is opened without the
// kernel's own readahead. It asks for twice as much each time, so that a short iteration asks for little more than it
// reads.
type readahead struct {
	run    *Run
	step   int64 // of the iteration: 1 or -1
	last   int64 // block of the run in this direction
	asked  int64 // last block that was read or asked for
	n      int64 // blocks of the last request
	blocks int   // blocks read from the file
}

const (
	// readaheadAfter is the number of blocks that an iteration reads before it asks for more. A page of 100 links has
	// about 4 kB of blocks of 8 KiB: one block, or two.
	readaheadAfter = 2
	// maxReadahead is the maximum number of blocks of a request. A compressed block has 4 to 5 kB, so that it is about
	// half a megabyte, which a volume of 16 MiB/s reads in 30 ms.
	maxReadahead = 128
)

// readahead returns the readahead of an iteration that begins at a block. For an iteration over the whole run it asks
// for as much as possible from the start.
func (r *Run) readahead(id, step int64, whole bool) readahead {
	a := readahead{run: r, step: step, last: r.head.First, asked: id - step}
	if step > 0 {
		a.last += r.head.Blocks - 1
	}
	if whole {
		a.n = maxReadahead / 2
		a.blocks = readaheadAfter
	}
	return a
}

// next is called before the iteration reads a block from the file.
func (a *readahead) next(id int64) {
	a.blocks++
	ahead := (a.asked - id) * a.step
	if ahead < 0 {
		a.asked = id
		ahead = 0
	}
	if a.blocks <= readaheadAfter || a.asked == a.last || ahead > a.n/2 {
		return
	}
	a.n = min(max(2*a.n, 2), maxReadahead)
	first := a.asked + a.step
	a.asked += a.step * min(a.n, (a.last-a.asked)*a.step)
	a.run.adviseBlocks(min(first, a.asked), max(first, a.asked))
}

// adviseBlocks asks the kernel for data blocks, from one up to another.
func (r *Run) adviseBlocks(from, to int64) {
	leaves := r.segment.rows[tableBlocks].known.Load()
	if leaves == nil {
		return // nothing was read yet
	}
	page := func(id int64) int64 {
		n := sort.Search(len(leaves.before), func(i int) bool { return int64(leaves.before[i]) >= id })
		return int64(leaves.pages[max(n-1, 0)])
	}
	// Overflow pages follow the leaf page of their row. The leaf page of the row behind the last one is behind them.
	f := r.segment.file
	begin := (page(from) - 1) * int64(f.pageSize)
	end := min(page(to+1)*int64(f.pageSize), f.size)
	if end > begin {
		f.soon(f.file, begin, end-begin)
	}
}
