package sim

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func get(t *testing.T, url string) (int, http.Header, []byte) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, body
}

func TestArchiveRoutes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	stale := filepath.Join(dir, segmentName(77))
	if err := os.WriteFile(stale, []byte("of an earlier run"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := testServer(t, ServerConfig{Dir: dir, Backlog: 2500, EventsPerSegment: 1000})
	if _, err := os.Stat(stale); err == nil {
		t.Error("segment of an earlier run is still there")
	}
	var list struct {
		Cursor   string
		Segments []struct {
			Name, Checksum string
			EventCount     int
			MinSeq, MaxSeq uint64
		}
	}
	_, _, body := get(t, s.URL()+xrpc+"listSegments?limit=2")
	if err := json.Unmarshal(body, &list); err != nil || len(list.Segments) != 2 || list.Cursor != "2" {
		t.Fatalf("%v in %s", err, body)
	}
	_, _, body = get(t, s.URL()+xrpc+"listSegments?cursor=2")
	list.Cursor, list.Segments = "", nil
	if err := json.Unmarshal(body, &list); err != nil || len(list.Segments) != 1 || list.Cursor != "" {
		t.Fatalf("%v in %s", err, body)
	}
	if seg := list.Segments[0]; seg.EventCount != 500 || seg.MinSeq != 2001 || seg.MaxSeq != 2500 {
		t.Errorf("last segment %+v", seg)
	}
	url := s.URL() + xrpc + "getSegment?name=" + list.Segments[0].Name
	code, header, file := get(t, url)
	if code != 200 || header.Get("ETag") != `"`+list.Segments[0].Checksum+`"` {
		t.Errorf("getSegment: %d, ETag %s", code, header.Get("ETag"))
	}
	block := s.URL() + xrpc + "getBlock?blockIndex=0&segment=" + list.Segments[0].Name
	_, _, frame := get(t, block)
	if !strings.Contains(string(file), string(frame)) || len(frame) == 0 {
		t.Error("getBlock isn't a part of getSegment")
	}
	for path, want := range map[string]int{
		"getSegment?name=x":                                400,
		"getSegment?name=" + segmentName(3):                404,
		"getBlock?blockIndex=1&segment=" + segmentName(2):  404,
		"getBlock?blockIndex=-1&segment=" + segmentName(2): 400,
		"getZstdDictionary?id=1":                           404,
		"getZstdDictionary":                                200,
	} {
		if code, _, body := get(t, s.URL()+xrpc+path); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}

	s.CorruptBlock(2, 0)
	if _, _, bad := get(t, url); len(bad) != len(file) || string(bad) == string(file) {
		t.Error("CorruptBlock changed nothing in the file")
	}
	if _, _, bad := get(t, block); len(bad) != len(frame) || string(bad) == string(frame) {
		t.Error("CorruptBlock changed nothing in the block")
	}
	s.HealBlocks()
	if _, _, good := get(t, url); string(good) != string(file) {
		t.Error("HealBlocks didn't heal")
	}
	s.FailArchive(1, 503)
	if code, _, _ := get(t, url); code != 503 {
		t.Errorf("FailArchive: %d", code)
	}
	if code, _, _ := get(t, url); code != 200 {
		t.Errorf("after FailArchive: %d", code)
	}
	s.SetFaults(Faults{ArchiveErrorEvery: 2})
	a, _, _ := get(t, url)
	b, _, _ := get(t, url)
	if a+b != 700 {
		t.Errorf("every second: %d and %d", a, b)
	}
}
