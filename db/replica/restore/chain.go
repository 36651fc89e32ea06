package restore

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/superfly/ltx"
)

// ParseTXID parses a transaction in Litestream's form: hexadecimal, with or without leading zeros.
func ParseTXID(text string) (ltx.TXID, error) {
	n, err := strconv.ParseUint(text, 16, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("a transaction is up to 16 hexadecimal digits, such as 00000000000004d2, not %q", text)
	}
	return ltx.TXID(n), nil
}

// Target is the moment to restore; the zero Target is the newest one.
type Target struct {
	TXID ltx.TXID  // 0: any
	Time time.Time // the newest transaction before it; zero: any
}

// allows reports whether a file ends no later than the target.
func (t Target) allows(f File) bool {
	return (t.TXID == 0 || f.Max <= t.TXID) && (t.Time.IsZero() || f.Time.Before(t.Time))
}

// Span is a range of transactions with Points restore points, the first and the last among them.
type Span struct {
	From     ltx.TXID  `json:"from_txid"`
	To       ltx.TXID  `json:"to_txid"`
	FromTime time.Time `json:"from"`
	ToTime   time.Time `json:"to"`
	Points   int       `json:"points"`
}

func (s Span) String() string {
	if s.From == s.To {
		return fmt.Sprintf("transaction %s (%s)", s.To, Stamp(s.ToTime))
	}
	return fmt.Sprintf("transactions %s to %s (%s to %s)", s.From, s.To, Stamp(s.FromTime), Stamp(s.ToTime))
}

// Stamp returns a time in UTC, to the millisecond, as the restore points of a replica are printed.
func Stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// Spans returns the ranges of restore points, oldest first.
func Spans(files []File) []Span {
	var found []Span
	bases := slices.DeleteFunc(slices.Clone(files), func(f File) bool { return f.Min > 1 })
	slices.SortFunc(bases, func(a, b File) int { return cmp.Compare(a.Max, b.Max) })
	byMax := slices.SortedFunc(slices.Values(files), func(a, b File) int { return cmp.Compare(a.Max, b.Max) })
	for _, base := range bases {
		if n := len(found); n > 0 && base.Max <= found[n-1].To {
			continue
		}
		s := Span{From: base.Max, To: base.Max, FromTime: base.Time, ToTime: base.Time, Points: 1}
		for _, f := range byMax { // a file that ends later needs the files that end before it
			if f.Max > s.To && f.Min <= s.To+1 {
				s.To = f.Max
				s.ToTime = f.Time
				s.Points++
			}
		}
		if n := len(found); n > 0 && base.Max == found[n-1].To+1 {
			s.From = found[n-1].From
			s.FromTime = found[n-1].FromTime
			s.Points += found[n-1].Points
			found = found[:n-1]
		}
		found = append(found, s)
	}
	return found
}

// GapError means that the chain to a target has a gap.
type GapError struct {
	// From and To are the transactions that no file has, both inclusive. From is 1 where a snapshot is missing.
	From, To ltx.TXID
	// After is the time of the transaction before the gap, zero if there is none; Before is the time of the end of the
	// file after it.
	After, Before time.Time
	Spans         []Span // the restore points
}

func (e *GapError) Error() string {
	between := fmt.Sprintf("before %s", Stamp(e.Before))
	if !e.After.IsZero() {
		between = fmt.Sprintf("between %s and %s", Stamp(e.After), Stamp(e.Before))
	}
	return fmt.Sprintf("the replica lacks transactions %s to %s, %s: %s", e.From, e.To, between, DescribeSpans(e.Spans))
}

// PointError means that a target is no restore point of the replica.
type PointError struct {
	Reason string
	Spans  []Span // the restore points
}

func (e *PointError) Error() string { return e.Reason + ": " + DescribeSpans(e.Spans) }

// ErrEmpty means that a replica has no files.
var ErrEmpty = errors.New("the replica is empty")

// DescribeSpans describes the restore points and the command to restore one.
func DescribeSpans(s []Span) string {
	if len(s) == 0 {
		return "nothing can be restored without a snapshot"
	}
	text := "restorable: "
	for i, span := range s {
		if i > 0 {
			text += "; "
		}
		text += span.String()
	}
	return fmt.Sprintf("%s; --txid %s restores the newest", text, s[len(s)-1].To)
}

// Chain picks the fewest files that lead to a target, in the order in which they are applied. The file that ends last
// is always the best choice: every file that can follow another file can also follow it.
func Chain(files []File, t Target) ([]File, error) {
	if len(files) == 0 {
		return nil, ErrEmpty
	}
	picked, reach := ChainFrom(files, t, 0)
	var next *File // the first behind the gap
	for i, f := range files {
		if t.allows(f) && f.Max > reach && (next == nil || f.Min < next.Min) {
			next = &files[i]
		}
	}
	if next != nil {
		gap := &GapError{From: reach + 1, To: next.Min - 1, Before: next.Time, Spans: Spans(files)}
		if len(picked) > 0 {
			gap.After = picked[len(picked)-1].Time
		}
		return nil, gap
	}
	switch {
	case len(picked) == 0:
		return nil, &PointError{fmt.Sprintf("the replica has nothing before %s", t), Spans(files)}
	case t.TXID != 0 && reach != t.TXID:
		return nil, &PointError{fmt.Sprintf("the replica cannot restore exactly transaction %s: it is newer than the "+
			"replica, or compacted with its neighbours", t.TXID), Spans(files)}
	}
	return picked, nil
}

// ChainFrom picks the files that lead on from a transaction, and returns the last transaction.
func ChainFrom(files []File, t Target, reach ltx.TXID) ([]File, ltx.TXID) {
	var picked []File
	for {
		var best *File
		for i, f := range files {
			if t.allows(f) && f.Min <= reach+1 && f.Max > reach && (best == nil || better(f, *best)) {
				best = &files[i]
			}
		}
		if best == nil {
			return picked, reach
		}
		picked = append(picked, *best)
		reach = best.Max
	}
}

func (t Target) String() string {
	switch {
	case t.TXID != 0:
		return fmt.Sprintf("transaction %s", t.TXID)
	case !t.Time.IsZero():
		return Stamp(t.Time)
	}
	return "now"
}

// better reports whether a file ends later than another, or at the same transaction with fewer bytes.
func better(f, than File) bool {
	if f.Max != than.Max {
		return f.Max > than.Max
	}
	return f.Bytes < than.Bytes
}
