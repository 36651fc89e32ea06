// Package logrow defines the rows of the log in weft.db: their columns, their numbers, how they are read, and the
// checksums that detect changed rows.
package logrow

import "slices"

// Op says what an upstream event does to an account or to one of its records.
type Op uint8

const (
	OpCreate  Op = 1 // the record exists, with exactly these links
	OpUpdate  Op = 2 // the same, in place of an older version
	OpDelete  Op = 3 // the record was deleted
	OpAccount Op = 4 // the account's hosting status changed
	OpSync    Op = 5 // the repo diverged: its whole content follows as creates with this rev
)

// Status is an account's hosting status. Only the links of active accounts are counted and listed.
type Status uint8

const (
	StatusActive      Status = 0
	StatusDeactivated Status = 1
	StatusSuspended   Status = 2
	StatusTakendown   Status = 3
	StatusDeleted     Status = 4 // purges the account and leaves a tombstone
	StatusInactive    Status = 5 // any other reason: the links are hidden and kept
)

// statusNames are the statuses in the spelling of com.atproto.sync.subscribeRepos#account, indexed by Status.
var statusNames = [...]string{"active", "deactivated", "suspended", "takendown", "deleted", "inactive"}

// String returns the name of a status. An unknown status hides the account, as StatusInactive does, and has its name.
func (s Status) String() string { return statusNames[min(s, StatusInactive)] }

// ParseStatus returns the status with a name.
func ParseStatus(name string) (s Status, ok bool) {
	i := slices.Index(statusNames[:], name)
	return Status(max(i, 0)), i >= 0
}
