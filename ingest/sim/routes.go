package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/bluesky-social/jetstream/segment"
)

const xrpc = "/xrpc/network.bsky.jetstream."

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /subscribe", s.subscribeV1)
	if s.cfg.NoV2 {
		return mux
	}
	mux.HandleFunc("GET "+xrpc+"subscribeEvents", s.subscribeV2)
	mux.HandleFunc("GET "+xrpc+"getZstdDictionary", s.getZstdDictionary)
	mux.HandleFunc("GET "+xrpc+"listSegments", s.listSegments)
	mux.HandleFunc("POST "+xrpc+"planSnapshot", s.failing(s.planSnapshot))
	mux.HandleFunc("GET "+xrpc+"getSegment", s.failing(s.getSegment))
	mux.HandleFunc("GET "+xrpc+"getBlock", s.failing(s.getBlock))
	return mux
}

// failing applies the archive's faults first.
func (s *Server) failing(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if status, retry := s.faults.archive(); status != 0 {
			refuse(w, status, retry)
			return
		}
		h(w, r)
	}
}

// xrpcError writes the envelope of all XRPC errors.
func xrpcError(w http.ResponseWriter, status int, name, message string) {
	writeJSON(w, status, map[string]string{"error": name, "message": message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // fails only if the client has left
}

func badRequest(w http.ResponseWriter, message string) {
	xrpcError(w, http.StatusBadRequest, "InvalidRequest", message)
}

// refuse answers as a faulty server or proxy.
func refuse(w http.ResponseWriter, status int, retryAfter time.Duration) {
	if retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((retryAfter+time.Second-1)/time.Second)))
	}
	http.Error(w, http.StatusText(status), status)
}

func (s *Server) getZstdDictionary(w http.ResponseWriter, r *http.Request) {
	if id := r.URL.Query().Get("id"); id != "" && id != strconv.Itoa(v2DictionaryID) {
		xrpcError(w, http.StatusNotFound, "DictionaryNotFound",
			fmt.Sprintf("no dictionary %s; current is %d", id, v2DictionaryID))
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Zstd-Dictionary-Id", strconv.Itoa(v2DictionaryID))
	http.ServeContent(w, r, "zstd_dictionary", time.Time{}, bytes.NewReader(v2Dictionary))
}

// checksum returns a segment's generation, as in listings, plans and ETags.
func (s *sealed) checksum() string { return fmt.Sprintf("%016x", s.header.Checksum) }

func (s *Server) listSegments(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit := 100
	from := 0
	var err error
	if v := q.Get("limit"); v != "" {
		limit, err = strconv.Atoi(v)
		if err != nil || limit < 1 {
			badRequest(w, "limit must be a positive integer")
			return
		}
	}
	if v := q.Get("cursor"); v != "" {
		from, err = strconv.Atoi(v)
		if err != nil || from < 0 {
			badRequest(w, "invalid cursor")
			return
		}
	}
	segs := s.log.segments()
	to := min(from+min(limit, 1000), len(segs))
	list := []map[string]any{}
	for _, seg := range segs[min(from, to):to] {
		h := seg.header
		list = append(list, map[string]any{
			"name": seg.name, "index": seg.index, "sizeBytes": seg.size, "checksum": seg.checksum(),
			"eventCount": h.EventCount, "minSeq": h.MinSeq, "maxSeq": h.MaxSeq,
			"minWitnessedAt": h.MinWitnessedAt, "maxWitnessedAt": h.MaxWitnessedAt,
		})
	}
	out := map[string]any{"segments": list}
	if to < len(segs) {
		out["cursor"] = strconv.Itoa(to)
	}
	writeJSON(w, http.StatusOK, out)
}

// segmentFor returns the segment that a request names, or answers 404.
func (s *Server) segmentFor(w http.ResponseWriter, name string) *sealed {
	index, ok := segmentIndex(name)
	if !ok {
		badRequest(w, "malformed segment name")
		return nil
	}
	segs := s.log.segments()
	if index >= uint64(len(segs)) {
		xrpcError(w, http.StatusNotFound, "SegmentNotFound", "segment not found")
		return nil
	}
	return segs[index]
}

// getSegment serves a file, with ranges and the checksum as its ETag.
func (s *Server) getSegment(w http.ResponseWriter, r *http.Request) {
	seg := s.segmentFor(w, r.URL.Query().Get("name"))
	if seg == nil {
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", strconv.Quote(seg.checksum()))
	if blocks := s.faults.corrupted(seg.index); len(blocks) > 0 {
		data, err := os.ReadFile(seg.path)
		if err != nil {
			xrpcError(w, http.StatusInternalServerError, "InternalError", "failed to read segment")
			return
		}
		for _, i := range blocks {
			if i < len(seg.blocks) {
				b := seg.blocks[i]
				spoil(data[b.Offset+8 : b.Offset+8+uint64(b.CompressedSize)]) // behind the length
			}
		}
		http.ServeContent(w, r, seg.name, time.Time{}, bytes.NewReader(data))
		return
	}
	f, err := os.Open(seg.path)
	if err != nil {
		xrpcError(w, http.StatusInternalServerError, "InternalError", "failed to open segment")
		return
	}
	defer f.Close()
	http.ServeContent(w, r, seg.name, time.Time{}, f)
}

func (s *Server) getBlock(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	seg := s.segmentFor(w, q.Get("segment"))
	if seg == nil {
		return
	}
	i, err := strconv.Atoi(q.Get("blockIndex"))
	if err != nil || i < 0 {
		badRequest(w, "blockIndex must be an integer of at least 0")
		return
	}
	if i >= len(seg.blocks) {
		xrpcError(w, http.StatusNotFound, "BlockNotFound", "block index out of range")
		return
	}
	f, err := os.Open(seg.path)
	if err != nil {
		xrpcError(w, http.StatusInternalServerError, "InternalError", "failed to open segment")
		return
	}
	defer f.Close()
	frame, err := segment.ReadBlockFrame(f, seg.header, i)
	if err != nil {
		xrpcError(w, http.StatusInternalServerError, "InternalError", "failed to read block")
		return
	}
	for _, bad := range s.faults.corrupted(seg.index) {
		if bad == i {
			spoil(frame)
		}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", strconv.Quote(seg.checksum()+":"+strconv.Itoa(i)))
	http.ServeContent(w, r, seg.name, time.Time{}, bytes.NewReader(frame))
}

// spoil flips some bits in the middle, in the data of a zstd frame and not in its header.
func spoil(b []byte) {
	for i := len(b) / 2; i < min(len(b)/2+8, len(b)); i++ {
		b[i] ^= 0xa5
	}
}
