package sim

import (
	"maps"
	"testing"
)

// folded is a consumer's view of one account.
type folded struct {
	records map[string]string // path → CID
	status  string
	syncing string              // rev of a sync whose rows are coming
	listed  map[string]struct{} // by those rows
}

// fold applies events as a consumer must, and fails at what can't be.
func fold(t *testing.T, n *Network, k int) (accounts map[string]*folded, seen map[string]int) {
	t.Helper()
	accounts, seen = map[string]*folded{}, map[string]int{}
	gone := map[string]bool{}
	for range k {
		e := n.Next()
		if gone[e.DID] {
			if e.Kind == KindCommit && !e.Late || e.Kind == KindAccount || e.Kind == KindSync {
				t.Fatalf("seq %d: %s %s of a deleted account", e.Seq, e.Kind, e.Operation)
			}
			seen["late"]++
			continue
		}
		a := accounts[e.DID]
		if a == nil {
			a = &folded{records: map[string]string{}}
			accounts[e.DID] = a
		}
		if e.Late {
			t.Fatalf("seq %d is late, but its account lives", e.Seq)
		}
		if a.syncing != "" && !e.Resync && e.Kind != KindIdentity && e.Kind != KindAccount {
			endResync(a)
		}
		switch e.Kind {
		case KindAccount:
			if e.Active != (e.Status == "") {
				t.Fatalf("seq %d: active %t with status %q", e.Seq, e.Active, e.Status)
			}
			a.status = e.Status
			seen["account "+e.Status]++
			if e.Status == StatusDeleted {
				gone[e.DID] = true
				delete(accounts, e.DID)
			}
		case KindSync:
			seen["sync"]++
			a.syncing, a.listed = e.Rev, map[string]struct{}{}
		case KindCommit:
			if a.status != "" {
				seen["hidden writes"]++
			}
			path := e.Collection + "/" + e.Rkey
			_, had := a.records[path]
			switch {
			case e.Resync:
				if e.Rev != a.syncing {
					t.Fatalf("seq %d: resync row of rev %s in the sync of %q", e.Seq, e.Rev, a.syncing)
				}
				if _, twice := a.listed[path]; twice {
					t.Fatalf("seq %d: %s twice in a resync", e.Seq, path)
				}
				a.listed[path] = struct{}{}
				if !had {
					seen["resync adds"]++
				}
				seen["resync rows"]++
				a.records[path] = e.CID
			case e.Operation == OpCreate:
				if had {
					t.Fatalf("seq %d: create of %s, which exists", e.Seq, path)
				}
				a.records[path] = e.CID
			case e.Operation == OpUpdate:
				if !had {
					t.Fatalf("seq %d: update of %s, which doesn't exist", e.Seq, path)
				}
				a.records[path] = e.CID
			default:
				if !had {
					t.Fatalf("seq %d: delete of %s, which doesn't exist", e.Seq, path)
				}
				delete(a.records, path)
			}
		}
	}
	return accounts, seen
}

// endResync drops what the rows didn't list.
func endResync(a *folded) {
	maps.DeleteFunc(a.records, func(path, _ string) bool {
		_, ok := a.listed[path]
		return !ok
	})
	a.syncing, a.listed = "", nil
}

func TestFolding(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]NetworkConfig{
		"usual": {Seed: 11},
		"few":   {Seed: 12, Accounts: 20, Churn: 5},
		"churn": {Seed: 13, Accounts: 1000, Churn: 30},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := NewNetwork(cfg)
			accounts, seen := fold(t, n, 60_000)
			for n.resync != nil { // let the last one end
				more, _ := n.resync, n.Next()
				_ = more
			}
			_ = accounts
			for _, want := range []string{
				"sync", "resync rows", "account ", "account deactivated", "account takendown", "account suspended",
				"account deleted", "hidden writes",
			} {
				if seen[want] == 0 && name == "churn" {
					t.Errorf("no %s in 60,000 events: %v", want, seen)
				}
			}
			if name == "churn" && (seen["late"] == 0 || seen["resync adds"] == 0) {
				t.Errorf("late %d, resync adds %d", seen["late"], seen["resync adds"])
			}
		})
	}
}
