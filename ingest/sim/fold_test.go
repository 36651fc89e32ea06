package sim

import (
	"maps"
	"testing"
)

// folded is a consumer's state of one account.
type folded struct {
	records map[string]string // path → CID
	status  string
	syncing string              // rev of a sync whose rows are arriving
	listed  map[string]struct{} // paths in these rows
}

// folder applies events as a consumer must, and fails at impossible ones.
type folder struct {
	accounts map[string]*folded
	gone     map[string]bool
	seen     map[string]int
}

func newFolder() *folder {
	return &folder{map[string]*folded{}, map[string]bool{}, map[string]int{}}
}

func (f *folder) apply(t *testing.T, e Event) {
	t.Helper()
	if f.gone[e.DID] {
		if e.Kind != KindCommit || !e.Late {
			t.Fatalf("seq %d: %s %s of a deleted account", e.Seq, e.Kind, e.Operation)
		}
		f.seen["late"]++
		return
	}
	if e.Late {
		t.Fatalf("seq %d is late, but its account lives", e.Seq)
	}
	a := f.accounts[e.DID]
	if a == nil {
		a = &folded{records: map[string]string{}}
		f.accounts[e.DID] = a
	}
	switch e.Kind {
	case KindAccount:
		if e.Active != (e.Status == "") {
			t.Fatalf("seq %d: active %t with status %q", e.Seq, e.Active, e.Status)
		}
		a.status = e.Status
		f.seen["account "+e.Status]++
		if e.Status == StatusDeleted {
			f.gone[e.DID] = true
			delete(f.accounts, e.DID)
		}
	case KindSync:
		a.endResync()
		f.seen["sync"]++
		a.syncing, a.listed = e.Rev, map[string]struct{}{}
	case KindCommit:
		if a.status != "" {
			f.seen["hidden writes"]++
		}
		f.commit(t, a, e)
	}
}

func (f *folder) commit(t *testing.T, a *folded, e Event) {
	t.Helper()
	path := e.Collection + "/" + e.Rkey
	if e.Resync {
		if e.Rev != a.syncing || e.Operation != OpCreate {
			t.Fatalf("seq %d: resync row of rev %s in the sync of %q", e.Seq, e.Rev, a.syncing)
		}
		if _, twice := a.listed[path]; twice {
			t.Fatalf("seq %d: %s twice in a resync", e.Seq, path)
		}
		if _, had := a.records[path]; !had {
			f.seen["resync adds"]++
		}
		f.seen["resync rows"]++
		a.listed[path] = struct{}{}
		a.records[path] = e.CID
		return
	}
	f.seen["resync drops"] += a.endResync()
	_, had := a.records[path]
	if had != (e.Operation != OpCreate) {
		t.Fatalf("seq %d: %s of %s, which exists: %t", e.Seq, e.Operation, path, had)
	}
	if e.Operation == OpDelete {
		delete(a.records, path)
	} else {
		a.records[path] = e.CID
	}
}

// endResync removes the records that the rows didn't list.
func (a *folded) endResync() int {
	if a.syncing == "" {
		return 0
	}
	before := len(a.records)
	maps.DeleteFunc(a.records, func(path, _ string) bool {
		_, ok := a.listed[path]
		return !ok
	})
	a.syncing, a.listed = "", nil
	return before - len(a.records)
}

// TestFolding applies the events and compares the result with the generator's repos.
func TestFolding(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]NetworkConfig{
		"usual": {Seed: 11},
		"one":   {Seed: 14, Accounts: 1, Churn: 3},
		"few":   {Seed: 12, Accounts: 20, Churn: 5},
		"churn": {Seed: 13, Accounts: 1000, Churn: 30},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n, f := NewNetwork(cfg), newFolder()
			for k := 0; k < 60_000 || n.resync != nil || len(n.queue) > 0; k++ {
				f.apply(t, n.Next())
			}
			compared := 0
			for _, i := range n.keptIDs {
				a, got := &n.accounts[i], f.accounts[n.accounts[i].did]
				if got == nil {
					got = &folded{}
				}
				got.endResync()
				want := map[string]string{}
				for j, rc := range a.recs {
					want[collections[rc.coll].nsid+"/"+n.rkey(rc)] = a.bodies[j].cid
				}
				if !maps.Equal(got.records, want) {
					t.Fatalf("%s: %d records by its events, %d in its repo", a.did, len(got.records), len(want))
				}
				compared += len(want)
			}
			if name != "churn" {
				return
			}
			for _, what := range []string{
				"sync", "resync rows", "resync adds", "resync drops", "account ", "account deactivated",
				"account takendown", "account suspended", "account deleted", "hidden writes", "late",
			} {
				if f.seen[what] == 0 {
					t.Errorf("nothing of %q in 60,000 events: %v", what, f.seen)
				}
			}
			t.Logf("%d records compared; %v", compared, f.seen)
		})
	}
}
