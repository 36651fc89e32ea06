package sim

import (
	"encoding/json"
	"net/http"

	"github.com/bluesky-social/jetstream/segment"
)

// wholeSegment is the share of matching blocks from which a plan lists the whole file, as on real servers.
const wholeSegment = 0.75

type planInput struct {
	Kinds       []string `json:"kinds"`
	DIDs        []string `json:"dids"`
	Collections []string `json:"collections"`
	AfterSeq    uint64   `json:"afterSeq"`
	BeforeSeq   *uint64  `json:"beforeSeq"`
}

type planRange struct {
	First int `json:"first"`
	Last  int `json:"last"`
}

type planSegment struct {
	Name     string      `json:"name"`
	Index    uint64      `json:"index"`
	Checksum string      `json:"checksum"`
	MinSeq   uint64      `json:"minSeq"`
	MaxSeq   uint64      `json:"maxSeq"`
	Mode     string      `json:"mode"`
	Blocks   []planRange `json:"blocks,omitempty"`
}

type planOutput struct {
	PlannedThroughSeq uint64        `json:"plannedThroughSeq"`
	SealedTipSeq      uint64        `json:"sealedTipSeq"`
	Segments          []planSegment `json:"segments"`
	Stats             struct {
		SegmentsExamined int `json:"segmentsExamined"`
		SegmentsMatched  int `json:"segmentsMatched"`
		BlocksMatched    int `json:"blocksMatched"`
		Entries          int `json:"entries"`
	} `json:"stats"`
}

// planSnapshot lists the downloads: whole segments, or ranges of blocks if a filter matches few of them.
func (s *Server) planSnapshot(w http.ResponseWriter, r *http.Request) {
	var in planInput
	// 10,000 DIDs of at most 2 kB; a longer body is refused.
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 32<<20)).Decode(&in); err != nil {
		badRequest(w, "malformed body")
		return
	}
	var f filter
	if err := f.set(in.Kinds, in.DIDs, in.Collections, false); err != nil {
		badRequest(w, err.Error())
		return
	}
	if in.BeforeSeq != nil && *in.BeforeSeq <= in.AfterSeq {
		badRequest(w, "beforeSeq must be greater than afterSeq")
		return
	}
	out, err := s.plan(&in, &f)
	if err != nil {
		s.logger.Error("sim: planSnapshot", "err", err)
		xrpcError(w, http.StatusInternalServerError, "InternalError", "failed to plan snapshot")
		return
	}
	writeJSON(w, http.StatusOK, out)
}

func (s *Server) plan(in *planInput, f *filter) (*planOutput, error) {
	segs := s.log.segments()
	out := &planOutput{Segments: []planSegment{}}
	if len(segs) > 0 {
		out.SealedTipSeq = segs[len(segs)-1].header.MaxSeq
	}
	before := out.SealedTipSeq
	if in.BeforeSeq != nil {
		before = min(before, *in.BeforeSeq)
	}
	out.SealedTipSeq = before
	out.PlannedThroughSeq = before
	through := uint64(0) // end of the last unit in the page
	for _, seg := range segs {
		out.Stats.SegmentsExamined++
		if seg.header.MaxSeq <= in.AfterSeq || seg.header.MinSeq > before {
			continue
		}
		blocks, err := seg.matching(f, in.AfterSeq, before)
		if err != nil {
			return nil, err
		}
		if len(blocks) == 0 {
			continue
		}
		var isFull bool
		through, isFull = s.planSegment(out, seg, blocks, before, through)
		if isFull {
			out.PlannedThroughSeq = through
			break
		}
	}
	return out, nil
}

// planSegment adds a segment's matching blocks to a page, as one unit or as ranges. The page ends before the unit that
// doesn't fit, even inside a segment; the next page begins after the last unit. through is the end of the last unit.
func (s *Server) planSegment(
	out *planOutput, seg *sealed, blocks []int, before, through uint64,
) (newThrough uint64, isFull bool) {
	p := planSegment{
		Name: seg.name, Index: seg.index, Checksum: seg.checksum(), MinSeq: seg.header.MinSeq, MaxSeq: seg.header.MaxSeq,
		Mode: "segment",
	}
	units := []planRange{{blocks[0], blocks[len(blocks)-1]}}
	if float64(len(blocks)) < wholeSegment*float64(len(seg.blocks)) {
		p.Mode = "blocks"
		units = ranges(blocks)
	}
	for _, u := range units {
		isFull = out.Stats.Entries >= s.cfg.PlanEntries
		if isFull {
			break
		}
		out.Stats.Entries++
		through = min(seg.blocks[u.Last].MaxSeq, before)
		if p.Mode == "segment" {
			out.Stats.BlocksMatched += len(blocks)
			through = min(seg.header.MaxSeq, before)
		} else {
			p.Blocks = append(p.Blocks, u)
			out.Stats.BlocksMatched += u.Last - u.First + 1
		}
	}
	if !isFull || len(p.Blocks) > 0 {
		out.Segments = append(out.Segments, p)
		out.Stats.SegmentsMatched++
	}
	return through, isFull
}

// matching returns the segment's blocks that may contain matching events: never too few, perhaps too many.
func (s *sealed) matching(f *filter, after, before uint64) ([]int, error) {
	candidates := map[uint32]bool{}
	for id, nsid := range s.collections {
		switch nsid {
		// Blocks of events without a collection have one of these names.
		case segment.SentinelCollectionAccount:
			candidates[uint32(id)] = f.wantsKind(KindAccount)
		case segment.SentinelCollectionIdentity:
			candidates[uint32(id)] = f.wantsKind(KindIdentity)
		case segment.SentinelCollectionSync:
			candidates[uint32(id)] = f.wantsKind(KindSync)
		default:
			candidates[uint32(id)] = f.wantsKind(KindCommit) && f.wantsCollection(nsid)
		}
	}
	possible, err := s.withDIDs(f)
	if err != nil {
		return nil, err
	}
	var out []int
	for i, b := range s.blocks {
		if b.MaxSeq <= after || b.MinSeq > before || possible != nil && !possible[i] {
			continue
		}
		ids, err := s.reader.BlockCollections(i)
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			if candidates[id] {
				out = append(out, i)
				break
			}
		}
	}
	return out, nil
}

// withDIDs returns the blocks whose Bloom filters match one of the filter's DIDs; nil: the filter has none.
func (s *sealed) withDIDs(f *filter) (map[int]bool, error) {
	if len(f.dids) == 0 {
		return nil, nil
	}
	blooms, err := s.reader.LoadAllBlockBlooms()
	if err != nil {
		return nil, err
	}
	out := map[int]bool{}
	for did := range f.dids {
		for _, i := range segment.SelectBlocksForDID(s.reader.SegmentBloom(), blooms, did) {
			out[i] = true
		}
	}
	return out, nil
}

// ranges joins adjacent blocks.
func ranges(blocks []int) []planRange {
	var out []planRange
	for _, b := range blocks {
		if k := len(out) - 1; k >= 0 && out[k].Last == b-1 {
			out[k].Last = b
		} else {
			out = append(out, planRange{b, b})
		}
	}
	return out
}
