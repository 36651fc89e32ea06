package upstream

import (
	"errors"
	"testing"
	"time"
)

// TestPick: the current host gets a second chance, then another one is next; a preferred host that is healthy comes
// first.
func TestPick(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_770_000_000, 0)
	broken := errors.New("broken")
	ends := func(received, failover bool) func(*Host) {
		return func(h *Host) { h.SessionEnded(broken, now, received, failover) }
	}
	for _, tc := range []struct {
		name          string
		first, second []func(*Host)
		current       int // 0: none
		want          int
		waits         bool
	}{
		{"a new index", nil, nil, 0, 1, false},
		{"the first failure", []func(*Host){ends(true, false)}, nil, 1, 1, true},
		{"the second failure without an event", []func(*Host){ends(true, false), ends(false, false)}, nil, 1, 2, false},
		{"two sessions with events", []func(*Host){ends(true, false), ends(true, false)}, nil, 1, 1, true},
		{"a silent host", []func(*Host){ends(true, true)}, nil, 1, 2, false},
		{"a server that sends us away", []func(*Host){func(h *Host) {
			h.SessionEnded(&Refused{Status: 429, Wait: time.Minute}, now, true, false)
		}}, nil, 1, 2, false},
		{"failback", []func(*Host){ends(false, true), (*Host).SetHealthy}, []func(*Host){(*Host).SetHealthy}, 2, 1, false},
		{"all have failed", []func(*Host){ends(false, true)}, []func(*Host){func(h *Host) {
			h.SessionEnded(&Refused{Status: 503, Wait: time.Hour}, now, false, false)
		}}, 2, 1, true},
	} {
		hosts := NewHosts([]Endpoint{{URL: "https://a.example"}, {URL: "https://b.example"}})
		list := hosts.All()
		for i, steps := range [][]func(*Host){tc.first, tc.second} {
			for _, step := range steps {
				step(list[i])
			}
		}
		var current *Host
		if tc.current > 0 {
			current = list[tc.current-1]
		}
		next, wait := hosts.Pick(current, now)
		if next != list[tc.want-1] || wait > 0 != tc.waits {
			t.Errorf("%s: %s in %s", tc.name, next.URL, wait)
		}
	}
}
