package ingest

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"weft.dev/weft/api/wire"
)

// SliceState is the slice of an index, as the index stores it, with the time since when each part is complete. The
// index has a link for certain if the part of its collection and the group of its subject are complete since a time
// before the link.
type SliceState struct {
	Slice    SliceConfig      `json:"slice"`
	Parts    []wire.SlicePart `json:"parts"`
	Subjects []SubjectGroup   `json:"subjects,omitempty"` // by time; String leaves Slice.Subjects out
	Backfill []Backfill       `json:"backfill,omitempty"` // the archive is read for these
	Purging  bool             `json:"purging,omitempty"`  // links outside the slice are being removed, or left by a crash
}

// SubjectGroup is the subjects of a slice that are complete since the same time.
type SubjectGroup struct {
	Since    time.Time `json:"since,omitzero"` // zero: since the index began
	Subjects []string  `json:"subjects"`       // sorted
}

// Backfill is a gap that holds the events that a widened slice lacks. When it is filled, the parts and the groups of
// this time are complete since the index began.
type Backfill struct {
	Since time.Time `json:"since"`
	Host  string    `json:"host"`
	To    uint64    `json:"to"` // where the gap ends
}

// parts returns the names of a slice's parts.
func (c *SliceConfig) parts() []string {
	if len(c.Collections) == 0 {
		return []string{"*"}
	}
	return sorted(c.Collections)
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// normal returns a slice with sorted lists without repeats.
func (c SliceConfig) normal() SliceConfig {
	return SliceConfig{sorted(c.Collections), sorted(c.Exclude), sorted(c.DIDs), sorted(c.Sources), sorted(c.Subjects)}
}

// ParseSliceState parses the result of String. An empty text is the state of an index of the whole network.
func ParseSliceState(text string) (s SliceState, err error) {
	if text == "" {
		return s, nil
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, fmt.Errorf("the index's slice: %w", err)
	}
	for _, g := range s.Subjects {
		s.Slice.Subjects = append(s.Slice.Subjects, g.Subjects...)
	}
	slices.Sort(s.Slice.Subjects)
	return s, nil
}

func (s SliceState) String() string {
	s.Slice.Subjects = nil // the groups have them
	text, err := json.Marshal(s)
	if err != nil { // text and times can't fail
		panic(err)
	}
	return string(text)
}

// Change returns the state after a change to another slice. more and less report whether the new slice adds links and
// removes links. If both are false, the slice is the same.
func (s SliceState) Change(to SliceConfig, now time.Time) (next SliceState, more, less bool) {
	now = now.UTC().Add(time.Second - 1).Truncate(time.Second)
	was := s.Slice.normal()
	to = to.normal()
	all := widensEach(was, to) // more in every part
	more = all || widens(was.Collections, to.Collections) || widens(was.Subjects, to.Subjects)
	less = widensEach(to, was) || widens(to.Collections, was.Collections) || widens(to.Subjects, was.Subjects)
	next.Slice = to
	next.Backfill = s.Backfill
	next.Purging = s.Purging
	all = all || len(was.Subjects) > 0 && len(to.Subjects) == 0
	for _, what := range to.parts() {
		p := wire.SlicePart{What: what}
		i := slices.IndexFunc(s.Parts, func(p wire.SlicePart) bool { return p.What == what })
		whole := slices.IndexFunc(s.Parts, func(p wire.SlicePart) bool { return p.What == "*" })
		switch {
		case i >= 0 && !all:
			p.Since = s.Parts[i].Since
		case whole >= 0 && !all:
			p.Since = s.Parts[whole].Since
		case more && (len(s.Parts) > 0 || len(was.Collections) > 0 || all):
			p.Since = now
		}
		next.Parts = append(next.Parts, p)
	}
	next.Subjects = s.changeSubjects(was.Subjects, to.Subjects, now)
	return next, more, less
}

// widensEach reports whether a slice has more in each of its collections than another had.
func widensEach(was, is SliceConfig) bool {
	return widens(was.DIDs, is.DIDs) || widens(was.Sources, is.Sources) || lacks(is.Exclude, was.Exclude)
}

// widens reports whether a list selects more than another did. An empty list selects all.
func widens(was, is []string) bool {
	return len(was) > 0 && (len(is) == 0 || lacks(was, is))
}

// lacks reports whether a sorted list lacks an entry of another.
func lacks(list, of []string) bool {
	return slices.ContainsFunc(of, func(s string) bool {
		_, found := slices.BinarySearch(list, s)
		return !found
	})
}

// changeSubjects returns the groups of the subjects of another slice. If the index had links to all subjects, the
// groups are as complete as its parts.
func (s SliceState) changeSubjects(was, to []string, now time.Time) (groups []SubjectGroup) {
	if len(was) == 0 && len(to) > 0 {
		return []SubjectGroup{{Subjects: to}}
	}
	stays := make(map[string]struct{}, len(to))
	for _, subject := range to {
		stays[subject] = struct{}{}
	}
	for _, g := range s.Subjects {
		kept := SubjectGroup{Since: g.Since}
		for _, subject := range g.Subjects {
			if has(stays, subject) {
				kept.Subjects = append(kept.Subjects, subject)
				delete(stays, subject)
			}
		}
		groups = appendGroup(groups, kept)
	}
	added := SubjectGroup{Since: now}
	for _, subject := range to {
		if has(stays, subject) {
			added.Subjects = append(added.Subjects, subject)
		}
	}
	return appendGroup(groups, added)
}

// appendGroup adds a group, or merges it into a group of the same time. It keeps the subjects of each group sorted.
func appendGroup(groups []SubjectGroup, g SubjectGroup) []SubjectGroup {
	if len(g.Subjects) == 0 {
		return groups
	}
	i := slices.IndexFunc(groups, func(o SubjectGroup) bool { return o.Since.Equal(g.Since) })
	if i < 0 {
		return append(groups, g)
	}
	groups[i].Subjects = sorted(slices.Concat(groups[i].Subjects, g.Subjects))
	return groups
}

// Incomplete reports whether a part or a group is not complete since the index began.
func (s SliceState) Incomplete() bool {
	return slices.ContainsFunc(s.Parts, func(p wire.SlicePart) bool { return !p.Since.IsZero() }) ||
		slices.ContainsFunc(s.Subjects, func(g SubjectGroup) bool { return !g.Since.IsZero() })
}

// AddBackfill returns the state with a gap that holds the events that the slice lacks.
func (s SliceState) AddBackfill(host string, to uint64) SliceState {
	newest := time.Time{}
	for _, p := range s.Parts {
		newest = later(newest, p.Since)
	}
	for _, g := range s.Subjects {
		newest = later(newest, g.Since)
	}
	s.Backfill = append(slices.Clone(s.Backfill), Backfill{Since: newest, Host: host, To: to})
	return s
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Backfilled returns the state after one of its backfills. The backfill read the archive for the whole slice, so all
// parts and groups that the slice had when it began are complete.
func (s SliceState) Backfilled(b Backfill) SliceState {
	s.Backfill = slices.DeleteFunc(slices.Clone(s.Backfill),
		func(o Backfill) bool { return o.Host == b.Host && o.To == b.To })
	s.Parts = slices.Clone(s.Parts)
	for i := range s.Parts {
		if !s.Parts[i].Since.After(b.Since) {
			s.Parts[i].Since = time.Time{}
		}
	}
	var groups []SubjectGroup
	for _, g := range s.Subjects {
		if !g.Since.After(b.Since) {
			g.Since = time.Time{}
		}
		groups = appendGroup(groups, g)
	}
	s.Subjects = groups
	return s
}

const (
	// shownGroups is the number of groups of subjects that Groups returns, and shownSubjects the number of names in
	// each. They keep a status at a few kilobytes with 100,000 subjects.
	shownGroups   = 20
	shownSubjects = 10
)

// Groups returns the groups of subjects for a status, oldest first. If there are too many, it returns the oldest as one
// group with the latest of their times.
func (s SliceState) Groups() []wire.SliceSubjects {
	byTime := func(a, b SubjectGroup) int { return a.Since.Compare(b.Since) }
	groups := slices.SortedFunc(slices.Values(s.Subjects), byTime)
	var out []wire.SliceSubjects
	for i, g := range groups {
		shown := wire.SliceSubjects{Since: g.Since, Count: len(g.Subjects)}
		shown.Subjects = g.Subjects[:min(len(g.Subjects), shownSubjects)]
		if len(out) > 0 && len(groups)-i >= shownGroups {
			shown.Count += out[0].Count
			out[0] = shown
			continue
		}
		out = append(out, shown)
	}
	return out
}
