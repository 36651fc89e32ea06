package db

import (
	"fmt"

	"weft.dev/weft/db/disk"
)

// diskRoom is the room for a data directory: that of its disk, or that of its budget if the budget has less.
type diskRoom struct {
	free, total int64 // bytes; 0 and 0: not known
	ofBudget    bool  // the figures are those of the budget
}

// diskRoom reads the free space of the disk and, with a budget, the sizes of the files.
func (s *Index) diskRoom() (diskRoom, error) {
	free, total, err := s.cfg.Disk(s.cfg.Dir)
	if err != nil || total <= 0 {
		return diskRoom{}, err
	}
	room := diskRoom{free: free, total: total}
	budget := s.cfg.Budget.Limit(total)
	s.room.budget.Store(budget)
	if budget == 0 {
		return room, nil
	}
	used, err := s.use.Bytes(s.cfg.Now())
	if err != nil {
		return diskRoom{}, err
	}
	if left := max(budget-used, 0); left < free {
		return diskRoom{left, budget, true}, nil
	}
	return room, nil
}

// roomName names the disk or the budget, for messages.
func (s *Index) roomName() string {
	if s.room.ofBudget.Load() {
		return fmt.Sprintf("the budget (--disk) of %s for %s", diskBytes(s.room.total.Load()), s.cfg.Dir)
	}
	return "the disk of " + s.cfg.Dir
}

// makeRoom returns the operator's remedy for too little room. The remedy also works with one volume and without a
// shell.
func (s *Index) makeRoom() string {
	if !s.room.ofBudget.Load() {
		return disk.Advice
	}
	if s.cfg.Budget.Percent > 0 {
		return "enlarge the disk or volume (on fly.io: fly volumes extend), or raise --disk (WEFT_DISK) and restart weft"
	}
	return "raise --disk (WEFT_DISK) and restart weft"
}
