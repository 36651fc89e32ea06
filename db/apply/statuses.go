package apply

import (
	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"weft.dev/weft/db/logrow"
)

// statuses is the accounts that are not active, each with its status. Bitmaps hold them in one to four bytes each,
// where a map takes sixty: there may be millions. The zero statuses has none.
type statuses struct {
	any roaring64.Bitmap                            // nearly every account that is asked for is in none
	by  [logrow.StatusInactive + 1]roaring64.Bitmap // by status; that of logrow.StatusActive stays empty
}

// of is an account's status.
func (s *statuses) of(actor uint64) logrow.Status {
	if !s.any.Contains(actor) {
		return logrow.StatusActive
	}
	status := logrow.StatusActive + 1
	for status < logrow.StatusInactive && !s.by[status].Contains(actor) {
		status++
	}
	return status
}

// set gives an account a status.
func (s *statuses) set(actor uint64, status logrow.Status) {
	status = min(status, logrow.StatusInactive) // as the log has it, there is no other
	if old := s.of(actor); old != logrow.StatusActive {
		s.by[old].Remove(actor)
	}
	if status == logrow.StatusActive {
		s.any.Remove(actor)
		return
	}
	s.any.Add(actor)
	s.by[status].Add(actor)
}

// pack brings what was set in order into its shortest form.
func (s *statuses) pack() {
	s.any.RunOptimize()
	for i := range s.by {
		s.by[i].RunOptimize()
	}
}

// bytes is the memory that they take.
func (s *statuses) bytes() uint64 {
	n := s.any.GetSizeInBytes()
	for i := range s.by {
		n += s.by[i].GetSizeInBytes()
	}
	return n
}
