package apply

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/db/lsm"
	"weft.dev/weft/link"
)

// Respell brings a record's links to the present spelling. Links that become one keep the older rank, which is the rank
// of a link that had the present spelling from the start.
func (f *Applier) Respell(key []byte) {
	before := f.d.record(key, lsm.Likely) // the next key is near
	actor, collection, rkey, err := codec.DecodeRecordKey(key)
	if err != nil {
		f.d.fail(fmt.Errorf("record key %x: %w", key, err))
		return
	}
	if f.state.status.of(actor) == logrow.StatusDeleted {
		return // a job is about to remove it
	}
	old := f.links(nil, before, rkey)
	next := make([]codec.RecordLink, 0, len(old))
	var text []byte
	for _, l := range old {
		if IsMisspelled(&text, l.Target) {
			if len(text) == 0 {
				continue // no link by the present rules
			}
			l.Target = f.target(string(text))
		}
		next = append(next, l)
	}
	next = sortRanked(next)
	removed, added := diffRanked(old, next)
	if len(removed)+len(added) == 0 {
		return // an event has changed the record meanwhile
	}
	r := logrow.Row{Op: logrow.OpRewritten, Actor: actor, Collection: collection, Rkey: rkey, Rev: f.d.rev(actor)}
	body := codec.BodyRef(before)
	if len(next) == 0 {
		r.Replaced = f.state.Bodies.current(before)
		body = 0
	}
	f.change(key, before, next, body, actor, rkey, removed, added)
	f.log(r, misspelledLast(removed, added), added)
}

// misspelledLast moves a removed link that no added one equals but for the rank to the end. A change of many links
// takes several log rows, the last removal comes with the last row, and a link must go before it comes again with
// another rank.
func misspelledLast(removed, added []codec.RecordLink) []codec.RecordLink {
	if len(removed)+len(added) <= logrow.MaxRowLinks {
		return removed
	}
	for i, l := range removed {
		if _, again := slices.BinarySearchFunc(added, l, codec.CompareLinks); !again {
			return append(slices.Delete(removed, i, i+1), l)
		}
	}
	return removed
}

func compareRanked(a, b codec.RecordLink) int {
	return cmp.Or(codec.CompareLinks(a, b), cmp.Compare(a.Rank, b.Rank))
}

// sortRanked orders links, and of the same link keeps the oldest.
func sortRanked(links []codec.RecordLink) []codec.RecordLink {
	slices.SortFunc(links, compareRanked)
	return slices.CompactFunc(links, func(a, b codec.RecordLink) bool { return codec.CompareLinks(a, b) == 0 })
}

// diffRanked gives the links that are in old alone and in next alone. A link of another rank is another link.
func diffRanked(old, next []codec.RecordLink) (removed, added []codec.RecordLink) {
	without := func(from, what []codec.RecordLink) (left []codec.RecordLink) {
		for _, l := range from {
			if _, ok := slices.BinarySearchFunc(what, l, compareRanked); !ok {
				left = append(left, l)
			}
		}
		return left
	}
	return without(old, next), without(next, old)
}

// IsMisspelled reports whether an encoded target is a text that link.Append spells otherwise, or that is no link by its
// rules. buf is scratch.
func IsMisspelled(buf *[]byte, target []byte) bool {
	if target[0] != codec.TagText {
		return false
	}
	text := target[1 : len(target)-1]
	*buf, _ = link.Append((*buf)[:0], text)
	return !bytes.Equal(*buf, text)
}
