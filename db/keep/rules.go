// Package keep says how long links are kept: the rules of --keep, and the horizons that follow from them. A link whose
// time is before the horizon of its source is out: no query shows it, and a compaction drops it.
package keep

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"weft.dev/weft/link"
)

// Rule says how long the links of the sources that a pattern matches are kept.
type Rule struct {
	// Pattern is a source (app.bsky.feed.like:subject.uri), a collection (app.bsky.feed.like), a group of collections
	// (app.bsky.feed.*) or * for all.
	Pattern string
	Keep    time.Duration // 0: for ever, or as Fit says
	Fit     bool          // as long as the budget of disk space allows
}

// Rules are the rules of --keep, the most specific pattern first: of several that match a source, it applies. The zero
// Rules keep everything.
type Rules struct{ list []Rule }

const (
	// forever is the time of a rule without an end.
	forever = "forever"
	// fit is the time of a rule that the budget of disk space ends.
	fit = "fit"
	// shortest is the shortest time of a rule: a horizon moves in steps of at least a minute.
	shortest = 5 * time.Minute
	// longest is the longest time of a rule. It fits a time.Duration, which ends at 292 years.
	longest = 100 * 365 * day
	blanks  = " \t\r\n"
	// mostRules bounds the rules: each source is matched against all.
	mostRules = 256
	day       = 24 * time.Hour
)

// String returns the rules as Parse takes them, in one spelling: equal rules have equal texts.
func (r Rules) String() string {
	parts := make([]string, len(r.list))
	for i, rule := range r.list {
		parts[i] = rule.Pattern + "=" + rule.KeepText()
	}
	return strings.Join(parts, ",")
}

// List returns the rules, the most specific first.
func (r Rules) List() []Rule { return slices.Clone(r.list) }

// Bounded reports whether some links are not kept for ever.
func (r Rules) Bounded() bool {
	return slices.ContainsFunc(r.list, func(rule Rule) bool { return rule.Keep > 0 || rule.Fit })
}

// Fits reports whether some links are kept as long as a budget allows.
func (r Rules) Fits() bool {
	return slices.ContainsFunc(r.list, func(rule Rule) bool { return rule.Fit })
}

// WithBudget returns the rules of an index that has a budget of disk space: what no rule names is kept as long as it
// allows.
func (r Rules) WithBudget() Rules {
	const rest = "*"
	if slices.ContainsFunc(r.list, func(rule Rule) bool { return rule.Pattern == rest }) {
		return r
	}
	return Rules{append(slices.Clone(r.list), Rule{Pattern: rest, Fit: true})} // * is the least specific
}

// match returns the number of the rule that applies to a source; -1: none, its links are kept for ever.
func (r Rules) match(nsid, path string) int {
	return slices.IndexFunc(r.list, func(rule Rule) bool { return rule.matches(nsid, path) })
}

func (r Rule) matches(nsid, path string) bool {
	collection, at, isSource := strings.Cut(r.Pattern, ":")
	group, isGroup := strings.CutSuffix(r.Pattern, "*")
	switch {
	case isSource:
		return collection == nsid && at == path
	case isGroup:
		return strings.HasPrefix(nsid, group)
	}
	return nsid == r.Pattern
}

// specific orders patterns: a source, a collection, a longer group, a shorter one.
func (r Rule) specific() int {
	switch {
	case strings.Contains(r.Pattern, ":"):
		return 1 << 21
	case !strings.HasSuffix(r.Pattern, "*"):
		return 1 << 20
	}
	return len(r.Pattern)
}

// Parse parses rules: PATTERN=TIME, separated by commas. A time is forever, fit, or a number of h or d such as 36h and
// 90d.
// An error names the place in the text, counted from 1 in characters. An empty text is the zero Rules.
func Parse(text string) (Rules, error) {
	var r Rules
	if strings.TrimSpace(text) == "" {
		return r, nil
	}
	at := 0 // where the part begins, in bytes
	for part := range strings.SplitSeq(text, ",") {
		rule, offset, err := parseRule(part)
		if err == nil && slices.ContainsFunc(r.list, func(o Rule) bool { return o.Pattern == rule.Pattern }) {
			err = fmt.Errorf("%s has two rules", rule.Pattern)
			offset = len(part) - len(strings.TrimLeft(part, blanks))
		}
		if err == nil && len(r.list) == mostRules {
			err = fmt.Errorf("there are more than %d rules", mostRules)
		}
		if err != nil {
			return Rules{}, fmt.Errorf("at character %d: %w", utf8.RuneCountInString(text[:at+offset])+1, err)
		}
		r.list = append(r.list, rule)
		at += len(part) + 1
	}
	slices.SortFunc(r.list, func(a, b Rule) int {
		return cmp.Or(cmp.Compare(b.specific(), a.specific()), cmp.Compare(a.Pattern, b.Pattern))
	})
	return r, nil
}

// parseRule parses one rule. offset is the place of an error in it, in bytes.
func parseRule(part string) (r Rule, offset int, err error) {
	lead := len(part) - len(strings.TrimLeft(part, blanks))
	left, right, ok := strings.Cut(part, "=")
	r.Pattern = strings.TrimSpace(left)
	switch {
	case strings.TrimSpace(part) == "":
		return r, lead, errors.New("a rule is missing: write PATTERN=TIME, such as app.bsky.feed.like=90d")
	case !ok:
		return r, lead, fmt.Errorf("%q lacks its time: did you mean %s=90d or %s=forever?", r.Pattern, r.Pattern, r.Pattern)
	}
	if err := checkPattern(r.Pattern); err != nil {
		return r, lead, err
	}
	offset = len(left) + 1 + len(right) - len(strings.TrimLeft(right, blanks))
	text := strings.TrimSpace(right)
	if text == fit {
		r.Fit = true
		return r, offset, nil
	}
	r.Keep, err = parseKeep(text)
	return r, offset, err
}

// checkPattern returns an error for what is no pattern.
func checkPattern(p string) error {
	collection, path, isSource := strings.Cut(p, ":")
	group, isGroup := strings.CutSuffix(p, ".*")
	switch {
	case p == "*":
		return nil
	case isSource && path == "":
		return fmt.Errorf("%q lacks the path of the source: did you mean %s?", p, collection)
	case isSource && strings.HasPrefix(path, "."):
		return fmt.Errorf("%q: a path has no leading dot: did you mean %s:%s?", p, collection, strings.TrimLeft(path, "."))
	case isSource && strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' }):
		return fmt.Errorf("%q: a path has no blanks", p)
	case isSource && link.ValidNSID(collection):
		return nil
	case isGroup && link.ValidNSID(group+".a.a"), link.ValidNSID(p):
		return nil
	case !isGroup && strings.HasSuffix(p, "*") && !isSource:
		return fmt.Errorf("%q: * stands for all, or behind a dot: did you mean %s?", p,
			strings.TrimRight(p, "*.")+".*")
	}
	return fmt.Errorf("%q is no collection, source or group: write app.bsky.feed.like, app.bsky.feed.like:subject.uri, "+
		"app.bsky.feed.* or *", p)
}

// parseKeep parses the time of a rule; 0: for ever.
func parseKeep(text string) (time.Duration, error) {
	switch text {
	case forever:
		return 0, nil
	case "":
		return 0, errors.New("the time is missing: write a number of h or d such as 90d, fit or forever")
	case "all", "always", "never", "ever", "infinite", "unlimited", "Forever", "for ever":
		return 0, fmt.Errorf("%q is no time: did you mean forever?", text)
	}
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * day
	}
	if err != nil {
		number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz ")
		if _, err := strconv.ParseUint(number, 10, 16); err == nil {
			return 0, fmt.Errorf("%q is no time: did you mean %sd or %sh?", text, number, number)
		}
		return 0, fmt.Errorf("%q is no time: write a number of h or d such as 90d, fit or forever", text)
	}
	if d < shortest || d > longest {
		return 0, fmt.Errorf("%q is not from %s to %s: longer is forever", text, formatKeep(shortest), formatKeep(longest))
	}
	return d, nil
}

// formatKeep is the inverse of parseKeep.
func formatKeep(d time.Duration) string {
	switch {
	case d == 0:
		return forever
	case d%day == 0:
		return strconv.FormatInt(int64(d/day), 10) + "d"
	case d%time.Hour == 0:
		return strconv.FormatInt(int64(d/time.Hour), 10) + "h"
	case d%time.Minute == 0:
		return strconv.FormatInt(int64(d/time.Minute), 10) + "m"
	}
	return d.String()
}

// KeepText returns the time of a rule as Parse takes it.
func (r Rule) KeepText() string {
	if r.Fit {
		return fit
	}
	return formatKeep(r.Keep)
}

const (
	// longestStep is how far a horizon moves at once: each move has the marks and the distinct counts of long lists
	// brought up to date once.
	longestStep = time.Hour
	// stepsPerKeep divides the time of a rule into steps, so that *=1h is about an hour: 2.5 minutes more at most.
	stepsPerKeep = 24
	// shortestStep is as close as the store looks.
	shortestStep = time.Minute
)

// stepUS is how far the horizon moves at once of links that are kept so long, in microseconds.
func stepUS(keep time.Duration) int64 {
	return min(max(keep/stepsPerKeep, shortestStep), longestStep).Microseconds()
}

// horizon returns the horizon of a rule's sources when its row was written, in microseconds since 1970; 0: none.
func (r Rule) horizon(row Row) uint64 {
	switch {
	case r.Fit:
		return uint64(row.FitUS)
	case r.Keep == 0:
		return 0
	}
	us := row.ClockUS - r.Keep.Microseconds()
	return uint64(max(us-us%stepUS(r.Keep), 0))
}

// FitNewest returns the newest horizon that links of a rule with fit have when the log's clock is at a time, in
// microseconds since 1970: no rule keeps less than five minutes.
func FitNewest(clockUS int64) int64 { return max(clockUS-shortest.Microseconds(), 0) }

// FitStep returns a horizon of links of a rule with fit, or the next one: they move in steps like those of a time.
func FitStep(us, clockUS int64) int64 {
	step := stepUS(time.Duration(clockUS-us) * time.Microsecond)
	return min((us+step-1)/step*step, FitNewest(clockUS))
}
