package index

import (
	"context"

	"weft.dev/weft/db/codec"
)

// TargetKey encodes a target for a look-up; ok is false when the index has never seen its account or collection, and
// so can't hold it.
func (v *Snapshot) TargetKey(target string) (key []byte, ok bool, err error) {
	return targetKey(target, v.ID, v.kindID)
}

// targetKey encodes a target with the ids of its account and its collection.
func targetKey(target string, accountID, kindID func(name []byte) (uint64, bool, error)) (key []byte, ok bool,
	err error) {
	did, collection, rkey, ok := codec.SplitTarget(target)
	if !ok {
		return codec.AppendTextTarget(nil, target), true, nil
	}
	actor, ok, err := accountID(codec.DIDKey(did))
	if !ok || err != nil {
		return nil, false, err
	}
	nsid := uint64(0)
	if collection != "" {
		nsid, ok, err = kindID(codec.CollectionKey(collection))
		if !ok || err != nil {
			return nil, false, err
		}
	}
	return codec.AppendTarget(nil, target[0] == 'd', actor, nsid, rkey), true, nil
}

// TargetStrings decodes targets, resolving their ids in one go.
func (c *Core) TargetStrings(ctx context.Context, keys [][]byte) ([]string, error) {
	parts := make([]codec.Target, len(keys))
	actors := make([]uint64, 0, len(keys))
	for i, key := range keys {
		var err error
		parts[i], err = codec.DecodeTarget(key)
		if err != nil {
			return nil, err
		}
		if parts[i].Text == nil {
			actors = append(actors, parts[i].AccountID)
		}
	}
	dids, err := c.AccountDIDs(ctx, actors)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(keys))
	var uri []byte
	for i, t := range parts {
		if t.Text != nil {
			out[i] = string(t.Text)
			continue
		}
		did := dids[0]
		dids = dids[1:]
		if t.Bare {
			out[i] = did
			continue
		}
		uri = append(append(uri[:0], "at://"...), did...)
		if t.CollectionID != 0 {
			nsid, err := c.NSID(ctx, t.CollectionID)
			if err != nil {
				return nil, err
			}
			uri = append(append(uri, '/'), nsid...)
		}
		if t.Rkey != nil {
			uri = codec.AppendRkeyText(append(uri, '/'), t.Rkey)
		}
		out[i] = string(uri)
	}
	return out, nil
}
