package segment

import (
	"weft.dev/weft/db/distinct"
	"weft.dev/weft/db/lsm"
)

// Lists is what a run offers beyond lsm.Source where it keeps the members of its long lists.
type Lists interface {
	// Distinct gives the set of members of the list of all keys that begin with prefix, as this run adds and removes them;
	// it is not to be changed. ok is false when the list is too short to have one, and is to be walked.
	Distinct(prefix []byte) (set *distinct.Set, ok bool, err error)
}

var _ Lists = (*Run)(nil)

// Distinct is Lists'.
func (r *Run) Distinct(prefix []byte) (set *distinct.Set, ok bool, err error) {
	if r.head.Sets == 0 {
		return nil, false, nil
	}
	// Short lists are known by their length, without a query.
	list, err := r.between(prefix, lsm.After(prefix))
	if err != nil || list.entries <= r.head.ListOver {
		return nil, false, err
	}
	set, err = r.set(prefix)
	return set, set != nil, err
}
