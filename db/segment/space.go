package segment

import "fmt"

// spaceBlocks is how many blocks of a run are looked at to tell what all of them take.
const spaceBlocks = 256

// Space says what the entries of each run take in the file, in bytes: exactly where a run has few blocks, and otherwise
// from some at equal distances. The rest of the file is indexes, filters and sets.
func (s *Segment) Space() (map[int]int64, error) {
	space := map[int]int64{}
	for _, h := range s.head.Runs {
		n, sum := min(h.Blocks, spaceBlocks), int64(0)
		for i := range n {
			id, size := h.First+i*h.Blocks/n, int64(0)
			if err := s.db.QueryRow("SELECT length(data) FROM blocks WHERE id = ?", id).Scan(&size); err != nil {
				return nil, fmt.Errorf("segment: size of row %d of blocks of %s: %w", id, s.path, err)
			}
			sum += size
		}
		if n > 0 {
			space[h.ID] = sum * h.Blocks / n
		}
	}
	return space, nil
}
