package check

import (
	"context"
	"fmt"

	"weft.dev/weft/db/codec"
)

// lazy is a name that is looked up when it is printed.
type lazy func() string

func (l lazy) String() string { return l() }

// nameRecord returns the name of a record, by its key.
func (c *checker) nameRecord(key []byte) lazy {
	return func() string {
		actor, collection, rkey, err := codec.DecodeRecordKey(key)
		if err != nil {
			return fmt.Sprintf("the record %x", key)
		}
		ctx := context.Background()
		dids, err := c.core.AccountDIDs(ctx, []uint64{actor})
		if err != nil {
			return fmt.Sprintf("the record %x of account %d", rkey, actor)
		}
		nsid, err := c.core.NSID(ctx, collection)
		if err != nil {
			nsid = fmt.Sprintf("collection-%d", collection)
		}
		return "at://" + dids[0] + "/" + nsid + "/" + codec.RkeyString(rkey)
	}
}

// nameTarget returns the name of a link: its target and its source.
func (c *checker) nameTarget(l codec.RecordLink) lazy {
	return func() string {
		ctx := context.Background()
		target := fmt.Sprintf("the target %x", l.Target)
		if targets, err := c.core.TargetStrings(ctx, [][]byte{l.Target}); err == nil {
			target = targets[0]
		}
		source, err := c.core.Source(ctx, l.Source)
		if err != nil {
			return fmt.Sprintf("%s from source %d", target, l.Source)
		}
		return target + " from " + source.Collection + ":" + source.Path
	}
}

// nameList returns the name of a list, by its prefix.
func (c *checker) nameList(prefix []byte) lazy {
	return func() string {
		n := codec.TargetLen(prefix)
		source, _, err := codec.DecodeID(prefix[n:])
		if err != nil {
			return fmt.Sprintf("the list %x", prefix)
		}
		return "the list of links to " + c.nameTarget(codec.RecordLink{Source: source, Target: prefix[:n]}).String()
	}
}
