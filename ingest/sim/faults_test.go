package sim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestFaultsOnFrames(t *testing.T) {
	t.Parallel()
	const total = 1000
	tests := map[string]struct {
		faults Faults
		frames int // frames for 1,000 events, with those that aren't events
		bad    int // frames of these that aren't events of v1
		lost   int
	}{
		"duplicate": {Faults{DuplicateEvery: 50}, total + 20, 0, 0},
		"spoil":     {Faults{SpoilEvery: 50, Seed: 9}, total, 20, 20},
		"garbage":   {Faults{GarbageEvery: 50}, total + 20, 20, 0},
		"unknown":   {Faults{UnknownEvery: 50}, total + 20, 20, 0},
		"all":       {Faults{DuplicateEvery: 100, GarbageEvery: 100, UnknownEvery: 100}, total + 30, 20, 0},
	}
	for name, tt := range tests {
		for _, query := range []string{"", "&compress=true"} {
			t.Run(name+query, func(t *testing.T) {
				t.Parallel()
				s := testServer(t, ServerConfig{Faults: tt.faults})
				c := dial(t, s, "/subscribe?cursor=1"+query)
				for { // v1 lacks some events: emit until it has 1,000
					missing := total - len(onV1(logged(t, s), false, nil))
					if missing == 0 {
						break
					}
					s.Emit(missing)
				}
				bad, seen := 0, map[uint64]bool{}
				for range tt.frames {
					if e, err := c.event1(); err != nil {
						bad++
					} else {
						seen[e.Seq] = true
					}
				}
				if bad != tt.bad || len(seen) != total-tt.lost {
					t.Errorf("%d bad frames, %d events; want %d and %d", bad, len(seen), tt.bad, total-tt.lost)
				}
			})
		}
	}
}

// logged returns the server's log.
func logged(t testing.TB, s *Server) []Event {
	t.Helper()
	var out []Event
	if err := s.Replay(1, func(e Event) error { out = append(out, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestConnectionFaults(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]Faults{"drop": {DropEvery: 100}, "truncate": {TruncateEvery: 100},
		"error": {ErrorEvery: 100}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testServer(t, ServerConfig{Faults: f})
			s.Emit(200)
			c := dial(t, s, xrpc+"subscribeEvents?cursor=1")
			frames, last := 0, []byte(nil)
			for {
				data, err := c.next()
				if err != nil {
					break
				}
				frames, last = frames+1, data
			}
			if frames == 0 || frames > 101 {
				t.Errorf("%d frames before the end", frames)
			}
			if isError := strings.Contains(string(last), `"$type":"error"`); isError != (name == "error") {
				t.Errorf("last frame %s", last)
			}
		})
	}
}

func TestStall(t *testing.T) {
	t.Parallel()
	s := testServer(t, ServerConfig{})
	s.Emit(10)
	const d = 300 * time.Millisecond
	start := time.Now()
	s.Stall(d)
	c := dial(t, s, "/subscribe?cursor=1")
	if _, err := c.event1(); err != nil || time.Since(start) < d {
		t.Errorf("first event after %s, %v", time.Since(start), err)
	}
	s.Stall(time.Hour)
	s.Emit(1)
	s.Stall(0)
	for range 5 {
		if _, err := c.event1(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	s := testServer(t, ServerConfig{})
	status := func() (int, string) {
		ws, resp, err := dialRaw(s, "/subscribe")
		if err == nil {
			_ = ws.CloseNow()
		}
		if resp == nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header.Get("Retry-After")
	}
	s.Refuse(1, http.StatusTooManyRequests, 1500*time.Millisecond)
	if code, retry := status(); code != 429 || retry != "2" {
		t.Errorf("refused with %d, Retry-After %q", code, retry)
	}
	if code, _ := status(); code != http.StatusSwitchingProtocols {
		t.Errorf("then %d", code)
	}
	s.SetFaults(Faults{RefuseEvery: 2})
	var codes []int
	for range 4 {
		code, _ := status()
		codes = append(codes, code)
	}
	slices.Sort(codes)
	if !slices.Equal(codes, []int{101, 101, 500, 500}) {
		t.Errorf("every second: %v", codes)
	}
}

func TestClampAndLookback(t *testing.T) {
	t.Parallel()
	s := testServer(t, ServerConfig{Lookback: 500, Backlog: 2000})
	first := func(path string) uint64 {
		e, err := dial(t, s, path).event1()
		if err != nil {
			t.Fatal(err)
		}
		return e.Seq
	}
	near := func(got, want uint64) bool { return got >= want && got < want+3 } // v1 may lack an event
	if got := first("/subscribe?cursor=1"); !near(got, 1501) {
		t.Errorf("v1 from seq 1: %d", got)
	}
	if got := first("/subscribe?cursor=1000000000000000"); !near(got, 1501) {
		t.Errorf("v1 from long ago: %d", got)
	}
	_, resp, err := dialRaw(s, xrpc+"subscribeEvents?cursor=1500")
	if err == nil || resp.StatusCode != http.StatusBadRequest {
		t.Fatalf("v2 below the floor: %v", err)
	}
	var envelope struct{ Error string }
	if err := json.NewDecoder(resp.Body).Decode(&envelope); err != nil || envelope.Error != "CursorTooOld" {
		t.Errorf("v2 below the floor: %q, %v", envelope.Error, err)
	}
	info, err := dial(t, s, xrpc+"subscribeEvents?cursor=1000000000000000").next()
	if err != nil || !strings.Contains(string(info), "OutdatedCursor") {
		t.Errorf("v2 from long ago: %s, %v", info, err)
	}
	if _, err := dial(t, s, xrpc+"subscribeEvents?cursor=1501").next(); err != nil {
		t.Errorf("v2 at the floor: %v", err)
	}
	s.SetFaults(Faults{ClampTo: 100})
	if got := first("/subscribe?cursor=1700"); !near(got, 1901) {
		t.Errorf("clamped to 100: %d", got)
	}
}
