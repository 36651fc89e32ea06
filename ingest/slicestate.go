package ingest

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"weft.dev/weft/api/wire"
)

// SliceState is the slice that an index holds, as it is kept in the index, and since when each part of it is complete.
type SliceState struct {
	Slice SliceConfig      `json:"slice"`
	Parts []wire.SlicePart `json:"parts"`
}

// parts are what a slice's collections are.
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

// normal is a slice in the one way to write it.
func (c SliceConfig) normal() SliceConfig {
	return SliceConfig{sorted(c.Collections), sorted(c.Exclude), sorted(c.DIDs), sorted(c.Sources)}
}

// ParseSliceState reads what String wrote; the empty text is the state of an index that holds all.
func ParseSliceState(text string) (s SliceState, err error) {
	if text == "" {
		return s, nil
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return s, fmt.Errorf("the index's slice: %w", err)
	}
	return s, nil
}

func (s SliceState) String() string {
	text, err := json.Marshal(s)
	if err != nil { // it is text and times
		panic(err)
	}
	return string(text)
}

// Change says what becomes of an index that is to hold another slice: the state then, whether it holds more, and whether
// it holds less. Neither of them: it is the same slice.
func (s SliceState) Change(to SliceConfig, now time.Time) (next SliceState, more, less bool) {
	was := s.Slice.normal()
	to = to.normal()
	more = widens(was.Collections, to.Collections) || widens(was.DIDs, to.DIDs) || widens(was.Sources, to.Sources) || lacks(to.Exclude, was.Exclude)
	less = widens(to.Collections, was.Collections) || widens(to.DIDs, was.DIDs) || widens(to.Sources, was.Sources) || lacks(was.Exclude, to.Exclude)
	all := widens(was.DIDs, to.DIDs) || widens(was.Sources, to.Sources) || lacks(to.Exclude, was.Exclude) // in every part
	next.Slice = to
	for _, what := range to.parts() {
		p := wire.SlicePart{What: what}
		i := slices.IndexFunc(s.Parts, func(p wire.SlicePart) bool { return p.What == what })
		switch {
		case i >= 0 && !all:
			p.Since = s.Parts[i].Since
		case more && (len(s.Parts) > 0 || len(was.Collections) > 0 || all):
			p.Since = now.UTC().Truncate(time.Second)
		}
		next.Parts = append(next.Parts, p)
	}
	return next, more, less
}

// widens says whether a list lets more through than another did; empty ones let all through.
func widens(was, is []string) bool {
	return len(was) > 0 && (len(is) == 0 || lacks(was, is))
}

// lacks says whether a list lacks something of another.
func lacks(list, of []string) bool {
	return slices.ContainsFunc(of, func(s string) bool { return !slices.Contains(list, s) })
}

// KeepsLink says whether a link is in the slice.
func (s *Slice) KeepsLink(did, collection, path string) bool {
	if s == nil {
		return true
	}
	if _, ok := s.dids[did]; len(s.dids) > 0 && !ok {
		return false
	}
	return s.Keeps(collection) && s.keepsLink(collection, []byte(path))
}
