package keep

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Horizons has the horizon of each source: links of an earlier rank are out. It is immutable; nil has no horizons.
type Horizons struct {
	kinds  []uint32 // by the id of a source: its number in at
	at     []uint64
	newest uint64
	status []Status
}

// Status returns the present rules, the most specific first, and what each has come to.
func (h *Horizons) Status() []Status {
	if h == nil {
		return nil
	}
	return h.status
}

// Of returns the horizon of a source, in microseconds since 1970; 0: it has none.
func (h *Horizons) Of(source uint64) uint64 {
	if h == nil || source >= uint64(len(h.kinds)) {
		return 0
	}
	return h.at[h.kinds[source]]
}

// Newest returns the newest horizon of all; 0: there is none.
func (h *Horizons) Newest() uint64 {
	if h == nil {
		return 0
	}
	return h.newest
}

// Row is a row of the table retention: rules, the log's clock when they moved the horizons last, and the horizon of
// what they keep as long as the budget allows, both in microseconds since 1970. The rows of all rules that an index
// ever had stay, so that no horizon goes back when rules change.
type Row struct {
	Rules   string
	ClockUS int64 `db:"clock_us"`
	FitUS   int64 `db:"fit_us"` // 0: none yet
}

// Retention makes Horizons of rows and of the names of sources. It is not safe for concurrent use; the Horizons that it
// returns are. The zero Retention has no rows.
type Retention struct {
	sets    []set
	numbers map[string]uint32 // of kinds, by the rules that apply
	applied [][]int           // by kind: of each set, the rule that applies; -1: none
	kinds   []uint32          // by source
	now     *Horizons         // nil: to be made
}

type set struct {
	Row
	rules Rules
}

// Load takes the rows of the table, in any order. Where they have other rules than before, no source is known any more,
// and all have to be added again.
func (r *Retention) Load(rows []Row) (err error) {
	sets := make([]set, len(rows))
	for i, row := range rows {
		sets[i].Row = row
		sets[i].rules, err = Parse(row.Rules)
		if err != nil {
			return fmt.Errorf("the rules %q of the table retention: %w", row.Rules, err)
		}
	}
	slices.SortFunc(sets, func(a, b set) int { return slices.Compare([]byte(a.Rules), []byte(b.Rules)) })
	if !slices.EqualFunc(sets, r.sets, func(a, b set) bool { return a.Rules == b.Rules }) {
		*r = Retention{numbers: map[string]uint32{}}
	}
	r.sets = sets
	r.now = nil
	return nil
}

// Active reports whether there are rows.
func (r *Retention) Active() bool { return len(r.sets) > 0 }

// Known returns the id up to which sources were added.
func (r *Retention) Known() uint64 { return uint64(max(len(r.kinds), 1) - 1) }

// Add adds a source. Sources come in the order of their ids; one that is known changes nothing.
func (r *Retention) Add(id uint64, nsid, path string) {
	if !r.Active() || id < uint64(len(r.kinds)) {
		return
	}
	kind := r.kind(nsid, path)
	for uint64(len(r.kinds)) <= id {
		r.kinds = append(r.kinds, kind) // readers of earlier Horizons don't look beyond their length
	}
	r.now = nil
}

// kind returns the number of a source's kind: the sources to which the same rules apply.
func (r *Retention) kind(nsid, path string) uint32 {
	applied := make([]int, len(r.sets))
	var key []byte
	for i, s := range r.sets {
		applied[i] = s.rules.match(nsid, path)
		key = binary.AppendVarint(key, int64(applied[i]))
	}
	n, ok := r.numbers[string(key)]
	if !ok {
		n = uint32(len(r.applied))
		r.numbers[string(key)] = n
		r.applied = append(r.applied, applied)
	}
	return n
}

// Horizons returns the present horizons; nil: there are none.
func (r *Retention) Horizons() *Horizons {
	if !r.Active() {
		return nil
	}
	if r.now == nil {
		h := r.horizons()
		h.status = r.status()
		r.now = h
	}
	return r.now
}

func (r *Retention) horizons() *Horizons {
	h := &Horizons{kinds: r.kinds[:len(r.kinds):len(r.kinds)], at: make([]uint64, len(r.applied))}
	for kind := range r.applied {
		h.at[kind] = r.horizon(kind)
		h.newest = max(h.newest, h.at[kind])
	}
	return h
}

// horizon returns the horizon of a kind of source: the newest that any rules, present or past, have moved it to.
func (r *Retention) horizon(kind int) (us uint64) {
	for i, rule := range r.applied[kind] {
		if rule >= 0 {
			us = max(us, r.sets[i].rules.list[rule].horizon(r.sets[i].Row))
		}
	}
	return us
}

// FitUS returns the horizon of what rules keep as long as the budget allows, in microseconds since 1970; 0: none.
// current is false where the rules have moved no horizon yet, or others did last.
func (r *Retention) FitUS(rules Rules) (us int64, current bool) {
	c := r.current()
	if c == nil || c.Rules != rules.String() {
		return 0, false
	}
	return c.FitUS, true
}

// Fitted returns the horizons that there would be with another FitUS, without a status; nil: there are none.
func (r *Retention) Fitted(us int64) *Horizons {
	current := r.current()
	if current == nil {
		return nil
	}
	was := current.FitUS
	current.FitUS = max(was, us)
	defer func() { current.FitUS = was }()
	return r.horizons()
}

// current returns the rules that moved the horizons last; nil: there are none.
func (r *Retention) current() *set {
	var c *set
	for i := range r.sets {
		if c == nil || r.sets[i].ClockUS > c.ClockUS {
			c = &r.sets[i]
		}
	}
	return c
}

// Due returns the row that a step of the horizons writes when the log's clock has advanced to a time, and the budget
// ends links of rules with fit at another, both in microseconds since 1970. due is false where no rule moves a horizon.
func (r *Retention) Due(rules Rules, clockUS, fitUS int64) (row Row, due bool) {
	current := r.current()
	if clockUS <= 0 || current == nil && !rules.Bounded() {
		return row, false
	}
	row = Row{rules.String(), clockUS, fitUS}
	switch {
	case current == nil:
	case current.Rules != row.Rules:
		row.ClockUS = max(clockUS, current.ClockUS+1) // the current rules are those of the newest clock
	default:
		due := slices.ContainsFunc(rules.list, func(rule Rule) bool {
			return rule.horizon(row) > rule.horizon(current.Row)
		})
		return row, due
	}
	return row, true
}

// Status is a rule and what it has come to.
type Status struct {
	Rule
	// HorizonUS is the newest horizon of the sources that the rule applies to, in microseconds since 1970; 0: none.
	HorizonUS int64
	// Since is true where the horizon is newer than the rule asks for: earlier rules kept less. It stays until the rule
	// comes to it.
	Since bool
}

// status returns the state of each present rule, and for the sources that no rule applies to, where an earlier rule
// gave them a horizon, the state of *=forever.
func (r *Retention) status() []Status {
	current := r.current()
	list := make([]Status, len(current.rules.list), len(current.rules.list)+1)
	for i, rule := range current.rules.list {
		list[i] = Status{Rule: rule, HorizonUS: int64(rule.horizon(current.Row))}
	}
	rest := Status{Rule: Rule{Pattern: "*"}}
	number := slices.IndexFunc(r.sets, func(s set) bool { return s.Rules == current.Rules })
	for kind, applied := range r.applied {
		at := &rest
		if applied[number] >= 0 {
			at = &list[applied[number]]
		}
		us := int64(r.horizon(kind))
		if us > at.HorizonUS {
			at.HorizonUS = us
			at.Since = true
		}
	}
	if rest.HorizonUS > 0 {
		list = append(list, rest)
	}
	return list
}
