package ingest

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"weft.dev/weft/api/wire"
)

// SliceState is the slice of an index, as the index stores it, with the time since when each part is complete.
type SliceState struct {
	Slice SliceConfig      `json:"slice"`
	Parts []wire.SlicePart `json:"parts"`
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
	return SliceConfig{sorted(c.Collections), sorted(c.Exclude), sorted(c.DIDs), sorted(c.Sources)}
}

// ParseSliceState parses the result of String. An empty text is the state of an index of the whole network.
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
	if err != nil { // text and times can't fail
		panic(err)
	}
	return string(text)
}

// Change returns the state after a change to another slice, and whether the index holds more or less then. Without more
// and less the slice is the same.
func (s SliceState) Change(to SliceConfig, now time.Time) (next SliceState, more, less bool) {
	was := s.Slice.normal()
	to = to.normal()
	all := widensEach(was, to) // more in every part
	more = all || widens(was.Collections, to.Collections)
	less = widensEach(to, was) || widens(to.Collections, was.Collections)
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

// widensEach reports whether a slice has more in each of its collections than another had.
func widensEach(was, is SliceConfig) bool {
	return widens(was.DIDs, is.DIDs) || widens(was.Sources, is.Sources) || lacks(is.Exclude, was.Exclude)
}

// widens reports whether a list selects more than another did. An empty list selects all.
func widens(was, is []string) bool {
	return len(was) > 0 && (len(is) == 0 || lacks(was, is))
}

// lacks reports whether a list lacks an entry of another.
func lacks(list, of []string) bool {
	return slices.ContainsFunc(of, func(s string) bool { return !slices.Contains(list, s) })
}

// KeepsLink reports whether a link is in the slice.
func (s *Slice) KeepsLink(did, collection, path string) bool {
	if s == nil {
		return true
	}
	if _, ok := s.dids[did]; len(s.dids) > 0 && !ok {
		return false
	}
	return s.Keeps(collection) && s.keepsLink(collection, []byte(path))
}
