package index

import (
	"bytes"
	"context"
	"math"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/lsm"
)

// firstMarks marks each account's first link in a list: of each run of the list, the numbers of the entries that are
// one. A page of accounts reads only marked entries. Runs don't change, so the marks of some runs stay valid, and those
// of a further run are added to them: adding costs one iteration over the list in that run. A link takes a bit or less.
type firstMarks struct {
	runs  []uint64 // IDs, oldest first
	parts []markPart

	accounts  *roaring.Bitmap // all that link; those of unresolved may be missing, or be in it without a link
	repeaters *roaring.Bitmap // has all accounts with more than one link, and others that had more before
	// unresolved are the accounts whose first link has to be looked up; true: others of their links may be marked.
	unresolved map[uint32]bool

	horizon uint64 // links of an earlier rank are out
}

// markPart is the marks in one run.
type markPart struct {
	run    lsm.Run
	start  int64           // entries of the run before the list
	first  *roaring.Bitmap // numbers of entries, counted from start
	shared bool            // first belongs to other marks too and is copied before it changes
}

// markCost is the cost of reading one mark, in the unit of accountCost: a block of the run, which mostly several share.
const markCost = 10

func newFirstMarks() *firstMarks {
	return &firstMarks{accounts: roaring.New(), repeaters: roaring.New(), unresolved: map[uint32]bool{}}
}

// over returns the marks with the runs that they are of, the first of these.
func (m *firstMarks) over(runs []lsm.Run) *firstMarks {
	c := *m
	c.parts = slices.Clone(m.parts)
	for i := range c.parts {
		c.parts[i].run = nil
		if runs != nil {
			c.parts[i].run = runs[i]
		}
	}
	return &c
}

// clone returns marks that may change, over these runs.
func (m *firstMarks) clone(runs []lsm.Run) *firstMarks {
	c := m.over(runs)
	c.runs = slices.Clone(m.runs)
	c.accounts = m.accounts.Clone()
	c.repeaters = m.repeaters.Clone()
	c.unresolved = map[uint32]bool{}
	for i := range c.parts {
		c.parts[i].shared = true
	}
	return c
}

// memory returns the memory of the marks, in bytes.
func (m *firstMarks) memory() int {
	n := m.accounts.GetSizeInBytes() + m.repeaters.GetSizeInBytes()
	for _, p := range m.parts {
		n += p.first.GetSizeInBytes() + 64
	}
	return int(n)
}

// markedEntry is an entry of a run: a link and its number.
type markedEntry struct {
	account uint32
	at      []byte // its position, encoded
	part    int
	number  uint32
}

// entries calls do for the links that a run adds to the list, or for those that it removes, oldest first. ok is false
// when an account's id is beyond what a bitmap holds, or a number is.
func (l List) entries(ctx context.Context, r lsm.Run, part int, n int64, op byte, do func(e markedEntry) error) (
	ok bool, err error,
) {
	number := n - 1
	it, err := r.Iterate(l.Prefix, l.to, true)
	for more := it != nil; more && err == nil; more, err = it.Next() {
		prefix, account, ok := codec.ListMember(it.Key())
		if !ok || number > math.MaxUint32 {
			return false, nil
		}
		if it.Value()[0] == op {
			err := do(markedEntry{account, it.Key()[prefix:], part, uint32(number)})
			if err != nil {
				return false, err
			}
		}
		number--
		err := CheckContext(ctx, int(n-number))
		if err != nil {
			return false, err
		}
	}
	return true, err
}

// inRun returns the number of the list's first entry in a run, the number of its entries there, and their sum.
func (l List) inRun(r lsm.Run) (start, n, sum int64, err error) {
	start, err = r.Below(l.Prefix)
	if err != nil {
		return 0, 0, 0, err
	}
	end, err := r.Below(l.to)
	if err != nil {
		return 0, 0, 0, err
	}
	sum, err = r.Sum(l.Prefix, l.to)
	return start, end - start, sum, err
}

// add adds the next newer run. ok is as of entries.
func (m *firstMarks) add(ctx context.Context, l List, r lsm.Run) (ok bool, err error) {
	start, n, sum, err := l.inRun(r)
	if err != nil {
		return false, err
	}
	done, err := m.addBySet(ctx, l, r, start, n)
	if done || err != nil {
		return done, err
	}
	err = l.read(n)
	if err != nil {
		return false, err
	}
	part := len(m.parts)
	if sum < n { // it removes links
		ok, err := l.entries(ctx, r, part, n, codec.Unlinked, func(e markedEntry) error { return m.remove(l, e) })
		if !ok || err != nil {
			return false, err
		}
	}
	newest, err := m.newest(l)
	if err != nil {
		return false, err
	}
	m.runs = append(m.runs, r.ID())
	m.parts = append(m.parts, markPart{run: r, start: start, first: roaring.New()})
	fresh := roaring.New()
	older := map[uint32]markedEntry{} // the links that may displace another
	ok, err = l.entries(ctx, r, part, n, codec.Linked, func(e markedEntry) error {
		_, unresolved := m.unresolved[e.account]
		_, another := older[e.account]
		switch {
		case unresolved || another:
		case !m.accounts.Contains(e.account):
			if fresh.CheckedAdd(e.account) {
				m.parts[part].first.Add(e.number)
			} else {
				m.repeaters.Add(e.account)
			}
		default:
			m.repeaters.Add(e.account)
			if bytes.Compare(e.at, newest) > 0 { // a greater position is an older link
				e.at = bytes.Clone(e.at)
				older[e.account] = e
			}
		}
		return nil
	})
	if !ok || err != nil {
		return false, err
	}
	err = m.displace(ctx, l, part, older)
	m.accounts.Or(fresh)
	return true, err
}

// raise takes the links out that a newer horizon of the list has left behind. An account whose first link is among them
// and that may have another becomes unresolved.
func (m *firstMarks) raise(ctx context.Context, l List) error {
	// No account begins with 0xff: what follows is of an earlier rank.
	w, err := m.walk(l, append(codec.RankPrefix(l.horizon), 0xff))
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		err := CheckContext(ctx, n)
		if err != nil {
			return err
		}
		e, more, err := w.next()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		err = l.read(1)
		if err != nil {
			return err
		}
		m.unmark(e) // the walk goes on over the shared marks
		if m.repeaters.Contains(e.account) {
			m.unresolved[e.account] = false
		} else {
			m.accounts.Remove(e.account)
		}
	}
	m.horizon = l.horizon
	return nil
}

// newest returns the position of the newest marked link; nil when there is none.
func (m *firstMarks) newest(l List) ([]byte, error) {
	w, err := m.walk(l, nil)
	if err != nil {
		return nil, err
	}
	e, _, err := w.next()
	return e.at, err
}

// displace moves the marks of the accounts that have an older link in a new part. It reads the marks from the newest
// on, up to the cost of reading the accounts' records. Accounts whose mark it has not reached become unresolved.
func (m *firstMarks) displace(ctx context.Context, l List, part int, older map[uint32]markedEntry) error {
	if len(older) == 0 {
		return nil
	}
	var oldest []byte
	for _, e := range older {
		oldest = maxKey(oldest, e.at)
	}
	w, err := m.walkParts(l, part, nil)
	if err != nil {
		return err
	}
	var displaced []markedEntry
	for n := 0; ; n++ {
		err := CheckContext(ctx, n)
		if err != nil {
			return err
		}
		mark, more, err := w.next()
		if err != nil {
			return err
		}
		if !more || bytes.Compare(mark.at, oldest) > 0 {
			break
		}
		if n == len(older)*accountCost/markCost {
			for account, e := range older {
				if bytes.Compare(e.at, mark.at) > 0 {
					m.unresolved[account] = true
				}
			}
			break
		}
		if e, ok := older[mark.account]; ok && bytes.Compare(e.at, mark.at) > 0 {
			displaced = append(displaced, mark)
		}
	}
	for _, mark := range displaced { // not before: the walk reads the marks
		m.unmark(mark)
		m.mark(older[mark.account])
	}
	return nil
}

// remove takes the removal of a link, by an entry of a run that is not yet added.
func (m *firstMarks) remove(l List, e markedEntry) error {
	hasMark, unresolved := m.unresolved[e.account]
	if unresolved && !hasMark {
		return nil
	}
	link, marked, err := m.find(l, e.at)
	if err != nil || !marked {
		return err // the account has an older link, which stays
	}
	m.unmark(link)
	if unresolved {
		return nil // others of its links may be marked
	}
	if m.repeaters.Contains(e.account) {
		m.unresolved[e.account] = false
	} else {
		m.accounts.Remove(e.account)
	}
	return nil
}

// find finds a link in the newest run that has an entry of it, and reports whether that is marked.
func (m *firstMarks) find(l List, at []byte) (e markedEntry, marked bool, err error) {
	key := append(l.Prefix[:len(l.Prefix):len(l.Prefix)], at...)
	for part, p := range slices.Backward(m.parts) {
		i, err := p.run.Below(key)
		if err != nil {
			return e, false, err
		}
		if i >= int64(p.run.Len()) {
			continue
		}
		found, err := p.run.EntryReader().Key(i)
		if err != nil {
			return e, false, err
		}
		if bytes.Equal(found, key) {
			_, account, _ := codec.ListMember(key)
			e = markedEntry{account, at, part, uint32(i - p.start)}
			return e, p.first.Contains(e.number), nil
		}
	}
	return e, false, nil
}

func (m *firstMarks) mark(e markedEntry) { m.own(e.part).Add(e.number) }

func (m *firstMarks) unmark(e markedEntry) { m.own(e.part).Remove(e.number) }

// own returns the marks of a part for a change.
func (m *firstMarks) own(part int) *roaring.Bitmap {
	p := &m.parts[part]
	if p.shared {
		p.first = p.first.Clone()
		p.shared = false
	}
	return p.first
}

// resolve looks the first links of the unresolved accounts up, in a list whose runs are all added.
func (m *firstMarks) resolve(ctx context.Context, l List) error {
	if len(m.unresolved) == 0 {
		return nil
	}
	wanted := make(map[uint64]struct{}, len(m.unresolved))
	for account := range m.unresolved {
		wanted[uint64(account)] = struct{}{}
	}
	var firsts []markedEntry
	met := roaring.New()
	err := l.visit(ctx, wanted, nil, true, func(p codec.ListPosition, at []byte) (bool, error) {
		account := uint32(p.AccountID)
		isFirst := met.CheckedAdd(account)
		if !isFirst && !m.unresolved[account] {
			return true, nil
		}
		e, marked, err := m.find(l, at)
		if err != nil {
			return false, err
		}
		if marked {
			m.unmark(e)
		}
		if isFirst {
			firsts = append(firsts, e)
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	for account := range m.unresolved {
		m.accounts.Remove(account)
	}
	for _, e := range firsts {
		m.mark(e)
	}
	m.accounts.Or(met)
	m.unresolved = map[uint32]bool{}
	return nil
}
