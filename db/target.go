package db

import (
	"context"
	"fmt"
	"strings"

	"weft.dev/weft/link"
)

// cutTarget takes a normalised target apart. ok says that it is a DID or an at-uri of a DID's repo, collection or
// record; any other target is kept as text.
func cutTarget(target string) (did, collection, rkey string, ok bool) {
	if strings.HasPrefix(target, "did:") {
		return target, "", "", true
	}
	return link.SplitRecord(target)
}

func appendText(dst []byte, target string) []byte {
	return append(append(append(dst, tagText), target...), 0)
}

// appendTarget encodes what cutTarget took apart: a DID when bare, else an at-uri. collection is 0 and rkey is empty
// where the at-uri ends before them.
func appendTarget(dst []byte, bare bool, actor, collection uint64, rkey string) []byte {
	dst = appendID(append(dst, tagActor), actor)
	switch {
	case bare:
		return append(dst, formDID)
	case collection == 0:
		return append(dst, formRepo)
	}
	dst = appendID(append(dst, formCollection), collection)
	if rkey == "" {
		return append(dst, rkeyNone)
	}
	return appendRkey(dst, rkey)
}

// targetKey encodes a target for a look-up; ok is false when the index has never seen its account or collection, and
// so can't hold it.
func (v *version) targetKey(target string) (key []byte, ok bool, err error) {
	did, collection, rkey, ok := cutTarget(target)
	if !ok {
		return appendText(nil, target), true, nil
	}
	actor, ok, err := v.id(append([]byte{'d'}, did...))
	if !ok || err != nil {
		return nil, false, err
	}
	nsid := uint64(0)
	if collection != "" {
		if nsid, ok, err = v.id(append([]byte{'c'}, collection...)); !ok || err != nil {
			return nil, false, err
		}
	}
	return appendTarget(nil, target[0] == 'd', actor, nsid, rkey), true, nil
}

// targetParts is a target taken from its key; the ids are to be resolved.
type targetParts struct {
	text       string // set for targets that are kept as text
	bare       bool   // a DID
	actor      uint64
	collection uint64 // 0: none
	rkey       string
}

func decodeTarget(key []byte) (t targetParts, err error) {
	if len(key) == 0 || targetLen(key) != len(key) {
		return t, fmt.Errorf("target %x: %w", key, errKey)
	}
	if key[0] == tagText {
		t.text = string(key[1 : len(key)-1])
		return t, nil
	}
	t.actor, key, _ = cutID(key[1:])
	switch key[0] {
	case formDID:
		t.bare = true
	case formCollection:
		t.collection, key, _ = cutID(key[1:])
		if key[0] != rkeyNone {
			t.rkey = rkeyString(key)
		}
	}
	return t, nil
}

// targetStrings decodes targets, resolving their ids in one go.
func (s *Index) targetStrings(ctx context.Context, keys [][]byte) ([]string, error) {
	parts := make([]targetParts, len(keys))
	actors := make([]uint64, 0, len(keys))
	for i, key := range keys {
		var err error
		if parts[i], err = decodeTarget(key); err != nil {
			return nil, err
		}
		if parts[i].text == "" {
			actors = append(actors, parts[i].actor)
		}
	}
	dids, err := s.dids(ctx, actors)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(keys))
	for i, t := range parts {
		switch {
		case t.text != "":
			out[i] = t.text
			continue
		case t.bare:
			out[i] = dids[t.actor]
			continue
		}
		out[i] = "at://" + dids[t.actor]
		if t.collection != 0 {
			nsid, err := s.nsid(ctx, t.collection)
			if err != nil {
				return nil, err
			}
			out[i] += "/" + nsid
		}
		if t.rkey != "" {
			out[i] += "/" + t.rkey
		}
	}
	return out, nil
}
