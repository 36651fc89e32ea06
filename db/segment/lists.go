package segment

import (
	"weft.dev/weft/db/distinct"
	"weft.dev/weft/db/lsm"
)

// Distinct returns the set of members of the list of all keys that begin with prefix, as this run adds and removes them.
// The set must not be changed. ok is false when the list is too short to have a set; iterate over it instead.
func (r *Run) Distinct(prefix []byte) (set *distinct.Set, ok bool, err error) {
	if r.head.Sets == 0 {
		return nil, false, nil
	}
	// Short lists are known by their length, without a query.
	list, err := r.rangeTotals(prefix, lsm.PrefixEnd(prefix))
	if err != nil || list.entries <= r.head.ListOver {
		return nil, false, err
	}
	set, err = r.set(prefix)
	return set, set != nil, err
}
