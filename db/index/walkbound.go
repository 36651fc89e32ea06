package index

import "fmt"

// WalkError is the error of a query that would read more than its ListQuery.Walk. It has read nothing that a query
// without the bound would not read.
type WalkError struct {
	Links int64 // in the list; 0: it is the log that is long
}

func (e *WalkError) Error() string {
	return fmt.Sprintf("db: the query would read more of a list of %d links than it may", e.Links)
}

// walkBound is what a query may still read of a list, in entries. Nil: anything.
type walkBound struct {
	left int64
	list List // the whole of it
}

// withBound returns the list for a query that may read most entries; 0: any number.
func (l List) withBound(most int64) List {
	if most > 0 {
		l.walk = &walkBound{most, l}
	}
	return l
}

// take takes n entries, and returns false where there are fewer.
func (w *walkBound) take(n int64) bool {
	if w == nil {
		return true
	}
	w.left -= n
	return w.left >= 0
}

// within returns the lesser of n and what is left, and whether that is n.
func (w *walkBound) within(n int64) (most int64, all bool) {
	if w == nil || n <= w.left {
		return n, true
	}
	return w.left, false
}

// read takes n entries of the list from its bound, before they are read.
func (l List) read(n int64) error {
	if l.walk.take(n) {
		return nil
	}
	return l.tooLong()
}

// tooLong returns the WalkError of the list.
func (l List) tooLong() error {
	total, err := l.walk.list.Total()
	if err != nil {
		return err
	}
	return &WalkError{total}
}
